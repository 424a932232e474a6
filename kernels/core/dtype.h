// Element types, and the 16-bit float the CPU computes with.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

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
constexpr DType dtype_of<std::int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType dtype_of<std::uint8_t>() {
  return DType::kU8;
}

// Calls fn.template operator()<T>() with the C++ type of a float dtype that the CPU computes with.
template <class Fn>
decltype(auto) visit_float(DType dtype, Fn&& fn) {
  if (dtype == DType::kBF16) return fn.template operator()<BFloat16>();
  FRUGAL_CHECK(dtype == DType::kF32, "dtype ", name_of(dtype), " is neither f32 nor bf16");
  return fn.template operator()<float>();
}

}  // namespace frugal
