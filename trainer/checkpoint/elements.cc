#include "trainer/checkpoint/elements.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace frugal {
namespace {

constexpr std::int64_t kBlock = 32;

// Blocks as they lie in files.
struct BlockQ8 {
  Float16 d;
  std::array<std::int8_t, kBlock> q;
};
struct BlockQ4Zero {
  Float16 d;
  std::array<std::uint8_t, kBlock / 2> q;
};
struct BlockQ4One {
  Float16 d, m;
  std::array<std::uint8_t, kBlock / 2> q;
};
static_assert(sizeof(BlockQ8) == 34 && sizeof(BlockQ4Zero) == 18 && sizeof(BlockQ4One) == 20);

constexpr std::array kLayouts = {
    ElementLayout{"F32", 1, 4},
    ElementLayout{"F16", 1, 2},
    ElementLayout{"BF16", 1, 2},
    ElementLayout{"Q8_0", kBlock, sizeof(BlockQ8)},
    ElementLayout{"Q4_0", kBlock, sizeof(BlockQ4Zero)},
    ElementLayout{"Q4_1", kBlock, sizeof(BlockQ4One)},
};

// The conversions of Float16 and BFloat16 without branches, so that their loops become vector
// instructions. 2^112 moves the exponent's bias and makes subnormals normal, exactly; it leaves the
// fraction of infinities and NaN, whose exponent is all ones.
float widen(std::uint16_t half) {
  const std::uint32_t magnitude = (half & 0x7fffU) << 13;
  const auto scaled = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112F);
  const std::uint32_t special = -std::uint32_t{magnitude >= 0x0f800000U} & 0x7f800000U;
  return std::bit_cast<float>(scaled | special | (half & 0x8000U) << 16);
}

// Bits of a bfloat16 in the lower half; bit 16: a finite value became infinite.
std::uint32_t round_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const std::uint32_t is_nan = -std::uint32_t{magnitude > 0x7f800000U};
  const std::uint32_t rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
  const std::uint32_t too_large =
      std::uint32_t{magnitude >= 0x7f7f8000U} & std::uint32_t{magnitude < 0x7f800000U};
  return (rounded & ~is_nan) | ((bits >> 16 | 0x40U) & is_nan) | too_large << 16;
}

// Calls fn(block, its 32 elements) for each block; files do not align blocks.
template <class Block, class Fn>
void for_each_block(std::span<const std::byte> blocks, std::span<float> out_N, const Fn& fn) {
  for (std::size_t b = 0; b < out_N.size() / kBlock; ++b) {
    Block block;
    std::memcpy(&block, blocks.data() + b * sizeof(Block), sizeof(Block));
    fn(block, out_N.data() + b * kBlock);
  }
}

template <class Fn>
void for_each_half(std::span<const std::byte> in, std::span<float> out_N, const Fn& fn) {
  for (std::size_t i = 0; i < out_N.size(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, in.data() + 2 * i, 2);
    out_N[i] = fn(bits);
  }
}

bool encode_bf16(std::span<const float> in_N, std::span<std::byte> out) {
  std::uint32_t seen = 0;
  for (std::size_t i = 0; i < in_N.size(); ++i) {
    const std::uint32_t rounded = round_to_bf16(in_N[i]);
    const auto bits = static_cast<std::uint16_t>(rounded);
    std::memcpy(out.data() + 2 * i, &bits, 2);
    seen |= rounded;
  }
  return seen >> 16 == 0;
}

bool encode_f16(std::span<const float> in_N, std::span<std::byte> out) {
  bool fits = true;
  for (std::size_t i = 0; i < in_N.size(); ++i) {
    const Float16 value(in_N[i]);
    std::memcpy(out.data() + 2 * i, &value, 2);
    fits &= std::isfinite(static_cast<float>(value)) || !std::isfinite(in_N[i]);
  }
  return fits;
}

bool encode_q8(std::span<const float> in_N, std::span<std::byte> out) {
  bool fits = true;
  for (std::size_t b = 0; b < in_N.size() / kBlock; ++b) {
    const auto x = in_N.subspan(b * kBlock, kBlock);
    float largest = 0.0F;
    bool finite = true;
    for (const float value : x) {
      largest = std::fmax(largest, std::fabs(value));
      finite &= std::isfinite(value);
    }
    const float d = largest / 127.0F;
    BlockQ8 block{.d = Float16(d), .q = {}};
    // Beyond these there are no quotients; such small ones leave d = 0 as a half.
    if (finite && std::isfinite(1.0F / d)) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        block.q[i] = static_cast<std::int8_t>(std::round(x[i] * (1.0F / d)));
      }
    }
    std::memcpy(out.data() + b * sizeof(block), &block, sizeof(block));
    fits &= finite && std::isfinite(static_cast<float>(block.d));
  }
  return fits;
}

}  // namespace

const ElementLayout& layout_of(ElementType type) {
  return kLayouts[static_cast<std::size_t>(type)];
}

ElementType element_type_of(DType dtype) {
  if (dtype == DType::kF16) return ElementType::kF16;
  if (dtype == DType::kBF16) return ElementType::kBF16;
  FRUGAL_CHECK(dtype == DType::kF32, name_of(dtype));
  return ElementType::kF32;
}

std::optional<DType> dtype_of(ElementType type) {
  if (type == ElementType::kF32) return DType::kF32;
  if (type == ElementType::kF16) return DType::kF16;
  if (type == ElementType::kBF16) return DType::kBF16;
  return std::nullopt;
}

void decode_blocks(ElementType type, std::span<const std::byte> blocks, std::span<float> out_N) {
  const ElementLayout& layout = layout_of(type);
  FRUGAL_CHECK(out_N.size() % layout.block == 0 &&
               blocks.size() == out_N.size() / layout.block * layout.bytes);
  switch (type) {
    case ElementType::kF32:
      return static_cast<void>(std::memcpy(out_N.data(), blocks.data(), blocks.size()));
    case ElementType::kF16:
      return for_each_half(blocks, out_N, widen);
    case ElementType::kBF16:
      return for_each_half(blocks, out_N,
                           [](std::uint32_t bits) { return std::bit_cast<float>(bits << 16); });
    case ElementType::kQ8_0:
      return for_each_block<BlockQ8>(blocks, out_N, [](const BlockQ8& block, float* out) {
        const auto d = static_cast<float>(block.d);
        for (std::size_t i = 0; i < kBlock; ++i) out[i] = d * static_cast<float>(block.q[i]);
      });
    case ElementType::kQ4_0:
      return for_each_block<BlockQ4Zero>(blocks, out_N, [](const BlockQ4Zero& block, float* out) {
        const auto d = static_cast<float>(block.d);
        for (std::size_t i = 0; i < kBlock / 2; ++i) {
          out[i] = d * static_cast<float>((block.q[i] & 15) - 8);
          out[i + kBlock / 2] = d * static_cast<float>((block.q[i] >> 4) - 8);
        }
      });
    case ElementType::kQ4_1:
      return for_each_block<BlockQ4One>(blocks, out_N, [](const BlockQ4One& block, float* out) {
        const auto d = static_cast<float>(block.d), m = static_cast<float>(block.m);
        for (std::size_t i = 0; i < kBlock / 2; ++i) {
          out[i] = d * static_cast<float>(block.q[i] & 15) + m;
          out[i + kBlock / 2] = d * static_cast<float>(block.q[i] >> 4) + m;
        }
      });
  }
}

bool encode_blocks(ElementType type, std::span<const float> in_N, std::span<std::byte> blocks) {
  const ElementLayout& layout = layout_of(type);
  FRUGAL_CHECK(in_N.size() % layout.block == 0 &&
               blocks.size() == in_N.size() / layout.block * layout.bytes);
  switch (type) {
    case ElementType::kF32:
      std::memcpy(blocks.data(), in_N.data(), blocks.size());
      return true;
    case ElementType::kF16:
      return encode_f16(in_N, blocks);
    case ElementType::kBF16:
      return encode_bf16(in_N, blocks);
    case ElementType::kQ8_0:
      return encode_q8(in_N, blocks);
    default:
      FRUGAL_CHECK(false, layout.name, " is only read");
  }
}

}  // namespace frugal
