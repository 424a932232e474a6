// Elements and packs of them in global memory; arithmetic is in float.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/core/dtype.h"
#include "kernels/cuda/device/language.h"

namespace frugal::cu {

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(BFloat16 x) {
  return static_cast<float>(x);
}
__device__ __forceinline__ float to_float(Float16 x) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(x.bits));
#else
  return static_cast<float>(x);
#endif
}

// Rounds to nearest, ties to even.
template <class T>
__device__ __forceinline__ T from_float(float x) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, Float16>) {
    T out;
    out.bits = __half_as_ushort(__float2half_rn(x));
    return out;
  }
#if __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, BFloat16>) {
    T out;
    out.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
    return out;
  }
#endif
#endif
  return T(x);
}

// kSize neighbours, moved by one instruction where they are 16 bytes.
template <class T, int kSize>
struct alignas(sizeof(T) * kSize) Pack {
  T element[kSize];
};

// Neighbours in 16 bytes.
template <class T>
constexpr int kWhole = 16 / static_cast<int>(sizeof(T));

// REQUIRES: from is aligned to the pack.
template <int kSize, class T>
__device__ __forceinline__ Pack<T, kSize> load(const T* from) {
  return *reinterpret_cast<const Pack<T, kSize>*>(from);
}
template <int kSize, class T>
__device__ __forceinline__ void store(T* to, const Pack<T, kSize>& pack) {
  *reinterpret_cast<Pack<T, kSize>*>(to) = pack;
}

// Whether whole packs reach every element of rows of this width, at these addresses.
template <class T, class... Pointers>
bool fits_packs(std::int64_t width, const Pointers*... rows) {
  return width % kWhole<T> == 0 && ((reinterpret_cast<std::uintptr_t>(rows) % 16 == 0) && ...);
}

}  // namespace frugal::cu
