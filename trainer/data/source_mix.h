// Which source the n-th sequence of a run comes from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace frugal {

struct MixedSample {
  int source = 0;
  std::int64_t index = 0;  // how many samples before this one came from the same source
};

// Draws sources in proportion to their weights, evenly spread: sample n falls on the point
// n * golden ratio (mod 1), a low-discrepancy sequence, in one of the intervals that the weights
// cut [0, 1) into. A pure function of n that needs no memory: how many points fell into an interval
// before n is counted in closed form. Immutable, thread-safe.
class SourceMix {
 public:
  // Throws Error(kUsage) for weights that are not positive and finite or too far apart (2^32).
  explicit SourceMix(std::span<const double> weights);
  MixedSample sample(std::int64_t n) const;  // n >= 0

 private:
  std::vector<std::uint64_t> ends_;  // of the intervals, in units of 2^-32
};

}  // namespace frugal
