// Element types, and the 16-bit floats.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "kernels/core/check.h"

namespace frugal {

enum class DType : std::uint8_t { kF32, kBF16, kF16, kF8E4M3, kF8E5M2, kI32, kU8 };

std::size_t size_of(DType dtype);
std::string_view name_of(DType dtype);  // "f32", "bf16", ...

// Storage of a bfloat16: the upper half of a float32. Arithmetic is done in float.
struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  // Rounds to nearest, ties to even; NaN stays NaN.
  constexpr explicit BFloat16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    if ((u & 0x7fffffffU) > 0x7f800000U) {
      bits = static_cast<std::uint16_t>((u >> 16) | 0x40U);
    } else {
      bits = static_cast<std::uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
    }
  }
  constexpr explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

// Storage of an IEEE half: 5 bits of exponent, 10 of fraction. Arithmetic is done in float.
struct Float16 {
  std::uint16_t bits = 0;

  Float16() = default;
  // Rounds to nearest, ties to even; what is too large becomes infinity; NaN stays NaN.
  constexpr explicit Float16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000U);
    const std::uint32_t magnitude = u & 0x7fffffffU;
    constexpr std::uint32_t kInfinity = 0x7f800000U, kSmallestNormal = 0x38800000U;  // 2^-14
    if (magnitude > kInfinity) {
      bits = sign | 0x7e00U;
    } else if (magnitude < kSmallestNormal) {
      // In units of 2^-24, the subnormals' step: adding 2^23 leaves the integer in the low bits,
      // rounded as the addition rounds.
      const float steps = std::bit_cast<float>(magnitude) * 16777216.0F + 8388608.0F;
      bits = sign | static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(steps) & 0x7ffU);
    } else {
      const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
      const std::uint32_t half = (rounded >> 13) - (112U << 10);  // the exponent's bias: 127 to 15
      bits = sign | static_cast<std::uint16_t>(half < 0x7c00U ? half : 0x7c00U);
    }
  }
  constexpr explicit operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
    const std::uint32_t magnitude = bits & 0x7fffU;
    if (magnitude >= 0x7c00U) {
      return std::bit_cast<float>(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
    }
    if (magnitude < 0x400U) {  // zero and subnormals, exact in float
      const float value = static_cast<float>(magnitude) * 5.9604644775390625e-8F;  // 2^-24
      return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
    }
    return std::bit_cast<float>(sign | ((magnitude + (112U << 10)) << 13));
  }
};

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::kF32;
}
template <>
constexpr DType dtype_of<BFloat16>() {
  return DType::kBF16;
}
template <>
constexpr DType dtype_of<Float16>() {
  return DType::kF16;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType dtype_of<std::uint8_t>() {
  return DType::kU8;
}

// Calls fn.template operator()<T>() with the C++ type of a dtype that is computed with.
template <class Fn>
decltype(auto) visit_float(DType dtype, Fn&& fn) {
  if (dtype == DType::kBF16) return fn.template operator()<BFloat16>();
  if (dtype == DType::kF16) return fn.template operator()<Float16>();
  FRUGAL_CHECK(dtype == DType::kF32, "dtype ", name_of(dtype), " is not f32, bf16 or f16");
  return fn.template operator()<float>();
}

// The same for two dtypes, fn.template operator()<A, B>(), which are alike or of which one is f32.
template <class Fn>
void visit_floats(DType a, DType b, Fn&& fn) {
  visit_float(a, [&]<class A>() {
    visit_float(b, [&]<class B>() {
      if constexpr (std::is_same_v<A, B> || std::is_same_v<A, float> || std::is_same_v<B, float>) {
        fn.template operator()<A, B>();
      } else {
        FRUGAL_CHECK(false, name_of(a), " does not mix with ", name_of(b));
      }
    });
  });
}

}  // namespace frugal
