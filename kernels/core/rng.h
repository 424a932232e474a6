// Counter-based random numbers: a pure function of a key and a counter, so the value of a global
// element does not depend on the layout, the thread count or what was drawn before. Source: Salmon
// et al., "Parallel random numbers: as easy as 1, 2, 3" (SC'11), Philox4x32-10.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace frugal {

using PhiloxWords = std::array<std::uint32_t, 4>;

inline constexpr int kPhiloxRounds = 10;
inline constexpr std::uint32_t kPhiloxStep0 = 0x9E3779B9U, kPhiloxStep1 = 0xBB67AE85U;

// One round; its keys are the round before's plus kPhiloxStep0 and kPhiloxStep1.
constexpr PhiloxWords philox_round(const PhiloxWords& c, std::uint32_t k0, std::uint32_t k1) {
  const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * c[0];
  const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * c[2];
  return {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
          static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
}

// Four 32-bit words for (key, counter).
constexpr PhiloxWords philox4x32(std::uint64_t key, std::uint64_t counter_low,
                                 std::uint64_t counter_high = 0) {
  PhiloxWords c{
      static_cast<std::uint32_t>(counter_low), static_cast<std::uint32_t>(counter_low >> 32),
      static_cast<std::uint32_t>(counter_high), static_cast<std::uint32_t>(counter_high >> 32)};
  auto k0 = static_cast<std::uint32_t>(key);
  auto k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    c = philox_round(c, k0, k1);
    k0 += kPhiloxStep0;
    k1 += kPhiloxStep1;
  }
  return c;
}

// In (0, 1): the middle of one of 2^24 intervals, so never 0 and never 1, exact in float.
constexpr float uniform_from_bits(std::uint32_t bits) {
  return (static_cast<float>(bits >> 8) + 0.5F) * (1.0F / 16777216.0F);
}

// Standard normal numbers of elements 2 * pair and 2 * pair + 1 under `key` (Box-Muller).
inline std::array<float, 2> normal_pair_at(std::uint64_t key, std::uint64_t pair) {
  const auto words = philox4x32(key, pair);
  const double radius =
      std::sqrt(-2.0 * std::log(static_cast<double>(uniform_from_bits(words[0]))));
  const double angle = 6.283185307179586 * static_cast<double>(uniform_from_bits(words[1]));
  return {static_cast<float>(radius * std::cos(angle)),
          static_cast<float>(radius * std::sin(angle))};
}

// Standard normal number of element `index` under `key`.
inline float normal_at(std::uint64_t key, std::uint64_t index) {
  return normal_pair_at(key, index >> 1)[index & 1];
}

// A key of its own for each purpose: seed, what it is for, and two free numbers (layer, step, the
// hash of a name, ...). Every bit of all four counts.
inline std::uint64_t rng_key(std::uint64_t seed, std::uint64_t purpose, std::uint64_t a = 0,
                             std::uint64_t b = 0) {
  const auto join = [](const PhiloxWords& words) {
    return (static_cast<std::uint64_t>(words[0]) << 32) | words[1];
  };
  return join(philox4x32(join(philox4x32(seed, purpose)), a, b));
}

}  // namespace frugal
