#include "trainer/checkpoint/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace frugal {

std::vector<float> llama3_factors(const Llama3Scaling& scaling, double theta, int head_dim) {
  std::vector<float> factors;
  const auto original = static_cast<double>(scaling.original_max_position_embeddings);
  for (int i = 0; i < head_dim / 2; ++i) {
    const double wavelength = 2.0 * std::numbers::pi * std::pow(theta, 2.0 * i / head_dim);
    const double weight = (original / wavelength - scaling.low_freq_factor) /
                          (scaling.high_freq_factor - scaling.low_freq_factor);
    const double kept = std::clamp(weight, 0.0, 1.0);
    factors.push_back(static_cast<float>(1.0 / ((1.0 - kept) / scaling.factor + kept)));
  }
  return factors;
}

std::optional<Llama3Scaling> llama3_scaling_of(const std::vector<float>& factors, double theta) {
  if (factors.empty()) return std::nullopt;
  Llama3Scaling scaling{.factor = *std::ranges::max_element(factors)};
  const auto alike = [](float a, float b) { return std::abs(a - b) <= 1e-4F * std::abs(b); };
  // The original length of all released models first; it is not unique for a few pairs.
  std::vector<std::int64_t> candidates{scaling.original_max_position_embeddings};
  for (int bits = 3; bits <= 20; ++bits) candidates.push_back(std::int64_t{1} << bits);
  for (const std::int64_t original : candidates) {
    scaling.original_max_position_embeddings = original;
    const auto would_be = llama3_factors(scaling, theta, static_cast<int>(factors.size()) * 2);
    if (std::ranges::equal(factors, would_be, alike)) return scaling;
  }
  return std::nullopt;
}

}  // namespace frugal
