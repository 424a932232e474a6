// Byte-level BPE: the alphabet of bytes, and the merging of one word.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "trainer/data/tokenizer_tables.h"

namespace frugal {

// Byte-level BPE writes every byte as a printable character. Returns the code point of each byte:
// itself if it is printable in Latin-1, else 256, 257, ... in order (GPT-2's alphabet).
std::array<char32_t, 256> byte_characters();
// The bytes in the order of their characters: the ids 0 .. 255 of a new tokenizer.
std::array<std::uint8_t, 256> bytes_by_character();

// Open addressing from pair to rank. Immutable, thread-safe.
class MergeTable {
 public:
  struct Merge {
    std::uint64_t pair = kEmpty;
    std::int32_t rank = kNone;
    std::int32_t token = 0;  // what the pair becomes
  };
  static constexpr std::int32_t kNone = INT32_MAX;

  // tokens[i] is what merges[i] becomes.
  MergeTable(const std::vector<TokenPair>& merges, const std::vector<std::int32_t>& tokens);
  // rank kNone if the pair does not merge
  const Merge& find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t pair = key(left, right);
    std::uint64_t at = slot(pair);
    while (slots_[at].pair != pair && slots_[at].pair != kEmpty) at = (at + 1) & mask_;
    return slots_[at];
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
           static_cast<std::uint32_t>(right);
  }
  std::uint64_t slot(std::uint64_t pair) const {
    return ((pair * 0x9E3779B97F4A7C15U) >> 32) & mask_;
  }

  std::vector<Merge> slots_;
  std::uint64_t mask_ = 0;
};

// Merges the tokens of one word until no pair merges: always the strongest merge, the leftmost of
// equal ones. Time O(n log n). Keeps its memory from word to word; one per thread.
class WordMerger {
 public:
  explicit WordMerger(const MergeTable& merges) : merges_(merges) {}
  // Replaces out[begin ..] in place. At most 2^31 - 1 tokens.
  void merge(std::vector<std::int32_t>& out, std::size_t begin);

 private:
  struct Candidate {
    std::int32_t rank, position;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  void offer(const std::int32_t* ids, std::int32_t position);

  const MergeTable& merges_;
  std::vector<std::int32_t> next_, previous_;
  std::vector<Candidate> heap_;
};

}  // namespace frugal
