// Sums over the threads of a warp or a block, in one fixed tree: the same bits in every run.
#pragma once

#include "kernels/cuda/device/language.h"

namespace frugal::cu {

// The sum over the warp's lanes, on every lane.
__device__ __forceinline__ float warp_sum(float x) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(kAllLanes, x, distance);
  }
  return x;
}

// Shared memory of block_sum.
constexpr std::size_t kBlockSumBytes = kWarp * sizeof(float);

// The sum over the block's threads, on every thread. scratch: kBlockSumBytes of shared memory, free
// again for the next call. REQUIRES: all threads call it, whole warps only.
__device__ __forceinline__ float block_sum(float x, float* scratch) {
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  x = warp_sum(x);
  __syncthreads();  // the last call's readers are done
  if (lane == 0) scratch[threadIdx.x / kWarp] = x;
  __syncthreads();
  return warp_sum(lane < warps ? scratch[lane] : 0.0F);
}

}  // namespace frugal::cu
