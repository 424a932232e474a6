// The one way in which CPU ops use threads: independent items, so the bits do not depend on how
// many threads share them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace frugal::cpu {

// Elements per item of an element-by-element op: long enough to hide the cost of handing it out.
constexpr std::int64_t kElementBlock = 16384;

// Less than this in all (about ten microseconds) is not worth waking other threads, which may be
// asleep or have lost their core to somebody else.
constexpr std::int64_t kWorthThreads = 32768;

// Calls fn(i) for i in [0, count). OpenMP decides who does what; without OpenMP, in order. cost: of
// one item, in elements of an element-by-element op. fn must not throw.
template <class Fn>
void parallel_for(std::int64_t count, std::int64_t cost, const Fn& fn) {
  if (count <= 1 || count * cost <= kWorthThreads) {  // no team at all: making one of one costs too
    for (std::int64_t i = 0; i < count; ++i) fn(i);
    return;
  }
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) fn(i);
}

// Splits [0, count) into fixed blocks and calls fn(begin, end) for each. cost: of one of count.
template <class Fn>
void parallel_blocks(std::int64_t count, std::int64_t block, const Fn& fn, std::int64_t cost = 1) {
  parallel_for((count + block - 1) / block, block * cost, [&](std::int64_t i) {
    const std::int64_t end = (i + 1) * block;
    fn(i * block, end < count ? end : count);
  });
}

// Sums `width` columns over all tokens: fixed blocks of tokens in parallel, then the blocks in
// order. add_block(begin, end, sums) adds tokens [begin, end) to sums[0, width).
template <class AddBlock>
std::vector<float> sum_over_tokens(std::int64_t tokens, std::int64_t width,
                                   const AddBlock& add_block) {
  constexpr std::int64_t kTokens = 64;
  const std::int64_t blocks = (tokens + kTokens - 1) / kTokens;
  std::vector<float> partial(static_cast<std::size_t>(blocks * width));
  parallel_blocks(
      tokens, kTokens,
      [&](std::int64_t begin, std::int64_t end) {
        add_block(begin, end, partial.data() + begin / kTokens * width);
      },
      width);
  std::vector<float> total(static_cast<std::size_t>(width));
  parallel_blocks(
      width, 512,
      [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t b = 0; b < blocks; ++b) {
          const float* row = partial.data() + b * width;
          for (std::int64_t i = first; i < last; ++i) total[static_cast<std::size_t>(i)] += row[i];
        }
      },
      blocks);
  return total;
}

}  // namespace frugal::cpu
