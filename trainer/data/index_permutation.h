// A permutation of 0 .. size - 1 that is computed, not stored.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/core/rng.h"

namespace frugal {

// A Feistel network over the next even power of two (Luby and Rackoff 1988), walked until it falls
// inside (Black and Rogaway 2002): less than four steps on average. Six rounds of Philox.
class IndexPermutation {
 public:
  // size >= 1; another key is another permutation.
  IndexPermutation(std::uint64_t size, std::uint64_t key)
      : size_(size), key_(key), half_bits_((std::bit_width(size - 1) + 1) / 2) {}

  std::uint64_t operator()(std::uint64_t index) const {
    do {
      index = encrypt(index);
    } while (index >= size_);
    return index;
  }

 private:
  std::uint64_t encrypt(std::uint64_t index) const {
    const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
    std::uint64_t left = index >> half_bits_;
    std::uint64_t right = index & mask;
    for (std::uint64_t round = 0; round < 6; ++round) {
      const std::uint64_t next = left ^ (philox4x32(key_, right, round)[0] & mask);
      left = right;
      right = next;
    }
    return (left << half_bits_) | right;
  }

  std::uint64_t size_, key_;
  int half_bits_;
};

}  // namespace frugal
