// Rounding to bfloat16 by chance, up as often as the value is near: the mean of many roundings is
// the value, so updates smaller than half a step of bfloat16 are not lost, as they are to nearest.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/core/dtype.h"
#include "kernels/core/rng.h"

namespace frugal {

// One call of philox4x32 serves this many neighbours.
inline constexpr std::int64_t kRoundingGroup = 8;

// Noise of elements 8 * group to 8 * group + 7 under `key`; purpose tells apart values of one
// element. Of these 128 bits, the first word's lowest first, element e of the group has bits
// [16 e, 16 e + 16).
constexpr PhiloxWords rounding_noise(std::uint64_t key, std::int64_t group, std::uint64_t purpose) {
  return philox4x32(key, static_cast<std::uint64_t>(group), purpose);
}
constexpr std::uint16_t noise_of(const PhiloxWords& noise, int e) {
  // No element of the array is picked by a variable: a GPU would need local memory.
  const std::uint64_t low = noise[0] | (static_cast<std::uint64_t>(noise[1]) << 32);
  const std::uint64_t high = noise[2] | (static_cast<std::uint64_t>(noise[3]) << 32);
  return static_cast<std::uint16_t>((e < 4 ? low : high) >> (16 * (e % 4)));
}

// What nearest rounding does is left as it is: infinities, NaN, and what lies beyond the largest
// finite bfloat16, which chance alone must not make infinite.
inline constexpr std::uint32_t kRoundedToNearestFrom = 0x7f7f0000U;  // magnitude

// One of the two neighbours of value in bfloat16; itself where it is one. Adds the noise below the
// last bit that stays and truncates.
constexpr BFloat16 round_by_chance(float value, std::uint16_t noise) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) >= kRoundedToNearestFrom) return BFloat16(value);
  BFloat16 out;
  out.bits = static_cast<std::uint16_t>((bits + noise) >> 16);
  return out;
}

}  // namespace frugal
