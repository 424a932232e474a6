// Rounding by chance: its two outcomes, how often each comes, and which bits decide.
#include "kernels/core/stochastic_rounding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

namespace frugal {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = 0x1.fep127F;  // finite bfloat16

BFloat16 with_bits(std::uint32_t bits) {
  BFloat16 out;
  out.bits = static_cast<std::uint16_t>(bits);
  return out;
}
std::uint16_t rounded(float value, std::uint32_t noise) {
  return round_by_chance(value, static_cast<std::uint16_t>(noise)).bits;
}

// Over all noise the mean is the value, exactly: away from zero as often as the bits below the last
// one that stays say, otherwise toward it.
TEST(StochasticRounding, GoesToEitherNeighbourAsOftenAsTheOtherIsFar) {
  for (const std::uint32_t kept : {0x3f80U, 0xbf80U, 0x3fffU, 0x0000U, 0x8000U, 0x0012U, 0x007fU,
                                   0x0080U, 0x7f7eU, 0xff7eU, 0x4049U}) {
    for (const std::uint32_t below : {0x0001U, 0x1234U, 0x7fffU, 0x8000U, 0xffffU}) {
      const auto value = std::bit_cast<float>((kept << 16) | below);
      std::uint32_t away = 0;
      for (std::uint32_t noise = 0; noise < 0x10000U; ++noise) {
        const std::uint32_t bits = rounded(value, noise);
        ASSERT_TRUE(bits == kept || bits == kept + 1) << value << " became " << bits;
        away += bits - kept;
      }
      EXPECT_EQ(away, below) << value;
    }
  }
}

TEST(StochasticRounding, LeavesBfloat16AsItIs) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto value = static_cast<float>(with_bits(bits));
    for (const std::uint32_t noise : {0x0000U, 0x0001U, 0x8000U, 0xffffU}) {
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(static_cast<float>(with_bits(rounded(value, noise)))));
      } else {
        EXPECT_EQ(rounded(value, noise), bits);
      }
    }
  }
}

TEST(StochasticRounding, ChanceMakesNothingInfinite) {
  const float below = std::nextafter(0x1.ffp127F, 0.0F);  // nearest: the largest
  for (const std::uint32_t noise : {0x0000U, 0x8000U, 0xffffU}) {
    EXPECT_EQ(rounded(below, noise), BFloat16(kLargest).bits);
    EXPECT_EQ(rounded(-below, noise), BFloat16(-kLargest).bits);
    EXPECT_EQ(rounded(std::numeric_limits<float>::max(), noise), BFloat16(kInfinity).bits);
    EXPECT_EQ(rounded(-kInfinity, noise), BFloat16(-kInfinity).bits);
    // A NaN whose bits above the cut are those of infinity.
    const auto quiet = std::bit_cast<float>(0x7f800001U);
    EXPECT_TRUE(std::isnan(static_cast<float>(with_bits(rounded(quiet, noise)))));
  }
}

TEST(StochasticRounding, AnElementsNoiseIsSixteenBitsOfItsGroups) {
  const PhiloxWords words{0x11110000U, 0x33332222U, 0x55554444U, 0x77776666U};
  for (int e = 0; e < kRoundingGroup; ++e) EXPECT_EQ(noise_of(words, e), 0x1111 * e);
  EXPECT_EQ(rounding_noise(3, 5, 2), philox4x32(3, 5, 2));
}

// The mean over keys, groups, purposes and elements: 2^17 roundings of standard deviation below a
// half step each, so 0.01 steps are more than five of theirs.
TEST(StochasticRounding, HasTheValueAsItsMeanOverAnyOfItsCounters) {
  constexpr double kStep = 0x1p-7;
  constexpr float kValue = 1.0F + static_cast<float>(kStep) * 0.3125F;
  const auto mean = [&](const auto& noise_at) {
    double sum = 0.0;
    for (std::uint64_t i = 0; i < (1U << 14); ++i) {
      const PhiloxWords noise = noise_at(i);
      for (int e = 0; e < kRoundingGroup; ++e) {
        sum += static_cast<double>(static_cast<float>(round_by_chance(kValue, noise_of(noise, e))));
      }
    }
    return sum / (1U << 17);
  };
  const auto at = [](std::uint64_t i) { return static_cast<std::int64_t>(i); };
  EXPECT_NEAR(mean([&](auto i) { return rounding_noise(i, 0, 0); }), kValue, 0.01 * kStep);
  EXPECT_NEAR(mean([&](auto i) { return rounding_noise(0, at(i), 0); }), kValue, 0.01 * kStep);
  EXPECT_NEAR(mean([&](auto i) { return rounding_noise(0, 0, i); }), kValue, 0.01 * kStep);
}

}  // namespace
}  // namespace frugal
