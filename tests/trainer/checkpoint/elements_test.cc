#include "trainer/checkpoint/elements.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/trainer/checkpoint/foreign_files.h"
#include "tests/trainer/checkpoint/saved_model.h"

namespace frugal::test {
namespace {

template <class T>
std::span<const std::byte> raw(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

TEST(Elements, EveryHalfIsWidenedAsTheTypeDoes) {
  std::vector<std::uint16_t> bits(1 << 16);
  std::iota(bits.begin(), bits.end(), 0);
  std::vector<float> halves(bits.size()), brains(bits.size());
  decode_blocks(ElementType::kF16, raw(bits), halves);
  decode_blocks(ElementType::kBF16, raw(bits), brains);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const auto half = static_cast<float>(std::bit_cast<Float16>(bits[i]));
    const auto brain = static_cast<float>(std::bit_cast<BFloat16>(bits[i]));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(halves[i]), std::bit_cast<std::uint32_t>(half)) << i;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(brains[i]), std::bit_cast<std::uint32_t>(brain)) << i;
  }
}

TEST(Elements, NarrowingRoundsToNearestAndSaysWhatBecameInfinite) {
  const std::vector<float> in = {
      1.0F,     1.0009765F, -65504.0F, 65519.9F,
      0x1p-24F, 0x1p-26F,   -0.0F,     std::numeric_limits<float>::infinity(),
      3.4e38F};
  std::vector<Float16> halves(in.size());
  std::vector<BFloat16> brains(in.size());
  const auto out = [](auto& values) { return std::as_writable_bytes(std::span(values)); };
  EXPECT_FALSE(encode_blocks(ElementType::kF16, in, out(halves)));  // the last
  EXPECT_TRUE(encode_blocks(ElementType::kBF16, std::span(in).first(8), out(brains).first(16)));
  EXPECT_FALSE(encode_blocks(ElementType::kBF16, std::span(in).last(1), out(brains).last(2)));
  EXPECT_TRUE(encode_blocks(ElementType::kF16, std::span(in).first(8), out(halves).first(16)));
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(halves[i].bits, Float16(in[i]).bits) << i;
    EXPECT_EQ(brains[i].bits, BFloat16(in[i]).bits) << i;
  }
}

// Every upper half with lower halves around the ties: what the type does.
TEST(Elements, EveryRoundingToBFloat16) {
  for (const std::uint32_t low : {0U, 1U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
    std::vector<float> in(1 << 16);
    std::vector<BFloat16> out(in.size());
    for (std::uint32_t i = 0; i < in.size(); ++i) in[i] = std::bit_cast<float>(i << 16 | low);
    EXPECT_EQ(encode_blocks(ElementType::kBF16, in, std::as_writable_bytes(std::span(out))),
              low < 0x8000U);
    for (std::size_t i = 0; i < in.size(); ++i) {
      ASSERT_EQ(out[i].bits, BFloat16(in[i]).bits) << i << " " << low;
      const bool fits = encode_blocks(ElementType::kBF16, std::span(in).subspan(i, 1),
                                      std::as_writable_bytes(std::span(out)).first(2));
      ASSERT_EQ(fits, !std::isfinite(in[i]) || std::isfinite(static_cast<float>(BFloat16(in[i]))));
    }
  }
}

// Blocks by gguf.quants, of numbers from 2^-35 to 2^20 with halves among the quotients.
TEST(Elements, Q8BlocksAreThoseOfTheReference) {
  const std::string values = read_bytes(golden("q8.f32")),
                    expected = read_bytes(golden("q8.blocks"));
  std::vector<float> in(values.size() / 4);
  std::memcpy(in.data(), values.data(), values.size());
  std::string blocks(expected.size(), '\0');
  EXPECT_TRUE(encode_blocks(ElementType::kQ8_0, in, std::as_writable_bytes(std::span(blocks))));
  EXPECT_TRUE(blocks == expected);
}

TEST(Elements, Q8RefusesWhatItCannotHold) {
  std::vector<float> in(32, 1.0F);
  std::vector<std::byte> block(34);
  EXPECT_TRUE(encode_blocks(ElementType::kQ8_0, in, block));
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(), 1e7F}) {
    in[5] = bad;
    EXPECT_FALSE(encode_blocks(ElementType::kQ8_0, in, block)) << bad;
  }
  in.assign(32, 1e-42F);  // their scale has no inverse, and is 0 as a half
  EXPECT_TRUE(encode_blocks(ElementType::kQ8_0, in, block));
  std::vector<float> back(32, 1.0F);
  decode_blocks(ElementType::kQ8_0, block, back);
  EXPECT_EQ(back, std::vector<float>(32, 0.0F));
}

}  // namespace
}  // namespace frugal::test
