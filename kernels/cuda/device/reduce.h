// Reductions over the threads of a warp or a block, in one fixed tree: the same bits in every run.
#pragma once

#include <cmath>

#include "kernels/cuda/device/language.h"

namespace frugal::cu {

// combine(a, b) over the warp's lanes, on every lane.
template <class T, class Combine>
__device__ __forceinline__ T warp_reduce(T x, Combine combine) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    x = combine(x, __shfl_xor_sync(kAllLanes, x, distance));
  }
  return x;
}

// combine(a, b) over the block's threads, on every thread; nothing: of no thread. scratch: kWarp
// elements of shared memory, free again for the next call. REQUIRES: all threads call it, whole
// warps only.
template <class T, class Combine>
__device__ __forceinline__ T block_reduce(T x, T nothing, T* scratch, Combine combine) {
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  x = warp_reduce(x, combine);
  __syncthreads();  // the last call's readers are done
  if (lane == 0) scratch[threadIdx.x / kWarp] = x;
  __syncthreads();
  return warp_reduce(lane < warps ? scratch[lane] : nothing, combine);
}

template <class T>
__device__ __forceinline__ T block_sum(T x, T* scratch) {
  return block_reduce(x, T{0}, scratch, [](T a, T b) { return a + b; });
}

// The larger; NaN if one is.
__device__ __forceinline__ float larger(float a, float b) {
  return b > a || b != b ? (a != a ? a : b) : a;
}
__device__ __forceinline__ float block_max(float x, float* scratch) {
  return block_reduce(x, -INFINITY, scratch, [](float a, float b) { return larger(a, b); });
}

// Shared memory of a block's sum or maximum.
template <class T>
constexpr std::size_t kReduceBytes = kWarp * sizeof(T);

}  // namespace frugal::cu
