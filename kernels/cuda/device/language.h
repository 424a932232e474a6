// The language that kernels are written in: nvcc's, or its emulation on the CPU. The only place
// that knows which.
#pragma once

#include <cstddef>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "kernels/cuda/emulation/emulation.h"
#endif

namespace frugal::cu {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffU;

// The block's shared memory, of as many bytes as the launch says; 16-byte aligned. There is no
// other shared memory: a kernel's needs stand in its launch.
template <class T>
__device__ __forceinline__ T* shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
#else
  return reinterpret_cast<T*>(emulation::shared_memory());
#endif
}

}  // namespace frugal::cu
