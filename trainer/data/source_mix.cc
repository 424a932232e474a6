#include "trainer/data/source_mix.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"

namespace frugal {
namespace {

// Points are multiples of step / 2^32: exact, and the same again after 2^32 samples.
constexpr std::uint64_t kOne = std::uint64_t{1} << 32;
constexpr std::uint64_t kStep = 0x9E3779B9U;  // 2^32 / golden ratio, odd

// Sum over i = 0 .. n-1 of floor((a * i + b) / m), modulo 2^64. The whole parts of a/m and b/m are
// summed directly; what is left counts the lattice points below a line, which is the same sum seen
// from the other axis, with a and m exchanged: Euclid's algorithm, O(log m) steps.
// REQUIRES: n, m <= 2^32 and a, b <= 2^33, so that no product below overflows.
std::uint64_t floor_sum(std::uint64_t n, std::uint64_t m, std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  while (n > 0) {
    const std::uint64_t pairs = n % 2 == 0 ? n / 2 * (n - 1) : (n - 1) / 2 * n;
    sum += pairs * (a / m) + n * (b / m);
    a %= m;
    b %= m;
    const std::uint64_t top = a * n + b;
    n = top / m;
    b = top % m;
    std::swap(a, m);
  }
  return sum;
}

// How many of the points 0 .. n-1 are below `end`. With x = i * step, x mod 2^32 < end exactly if
// floor(x / 2^32) - floor((x - end) / 2^32) = 1.
std::uint64_t points_below(std::uint64_t n, std::uint64_t end) {
  const std::uint64_t cycle = n / kOne;
  n %= kOne;
  return cycle * end + floor_sum(n, kOne, kStep, kOne) - floor_sum(n, kOne, kStep, kOne - end);
}

}  // namespace

SourceMix::SourceMix(std::span<const double> weights) {
  double total = 0.0;
  for (const double weight : weights) {
    if (!(weight > 0.0) || !std::isfinite(weight)) {
      fail(ErrorKind::kUsage, "data: a source has weight ", weight, ", expected a positive number");
    }
    total += weight;
  }
  double sum = 0.0;
  for (const double weight : weights) {
    sum += weight;
    const auto end = static_cast<std::uint64_t>(std::llround(sum / total * 0x1p32));
    if (end == (ends_.empty() ? 0 : ends_.back())) {
      fail(ErrorKind::kUsage, "data: weight ", weight, " is too small beside a total of ", total,
           ": leave that source out");
    }
    ends_.push_back(end);
  }
  FRUGAL_CHECK(!ends_.empty());
  ends_.back() = kOne;
}

MixedSample SourceMix::sample(std::int64_t n) const {
  const auto count = static_cast<std::uint64_t>(n);
  const std::uint64_t point = count * kStep % kOne;
  const auto end = std::ranges::upper_bound(ends_, point);
  const std::uint64_t before =
      points_below(count, *end) - (end == ends_.begin() ? 0 : points_below(count, *std::prev(end)));
  return {static_cast<int>(end - ends_.begin()), static_cast<std::int64_t>(before)};
}

}  // namespace frugal
