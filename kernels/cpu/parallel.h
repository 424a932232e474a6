// The one way in which CPU ops use threads: independent items, so the bits do not depend on how
// many threads share them.
#pragma once

#include <cstdint>

namespace frugal::cpu {

// Calls fn(i) for i in [0, count). OpenMP decides who does what; without OpenMP, in order. fn must
// not throw.
template <class Fn>
void parallel_for(std::int64_t count, const Fn& fn) {
#pragma omp parallel for schedule(static) if (count > 1)
  for (std::int64_t i = 0; i < count; ++i) fn(i);
}

// Splits [0, count) into fixed blocks and calls fn(begin, end) for each.
template <class Fn>
void parallel_blocks(std::int64_t count, std::int64_t block, const Fn& fn) {
  parallel_for((count + block - 1) / block, [&](std::int64_t i) {
    const std::int64_t end = (i + 1) * block;
    fn(i * block, end < count ? end : count);
  });
}

}  // namespace frugal::cpu
