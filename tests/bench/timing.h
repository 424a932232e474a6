// How benchmarks time contenders that take turns.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace frugal::bench {

// How long one call takes, by a clock that never goes back.
template <class Fn>
double seconds_of(const Fn& fn) {
  const auto begin = std::chrono::steady_clock::now();
  fn();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The upper one of the two in the middle. REQUIRES: not empty.
inline double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

}  // namespace frugal::bench
