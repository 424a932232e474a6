// Elements and packs of them in global memory; arithmetic is in float.
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"
#include "kernels/cuda/device/language.h"

namespace frugal::cu {

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(BFloat16 x) {
  return static_cast<float>(x);
}

// Rounds to nearest, ties to even.
template <class T>
__device__ __forceinline__ T from_float(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (sizeof(T) == 2) {
    T out;
    out.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
    return out;
  } else {
    return T(x);
  }
#else
  return T(x);
#endif
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
