// Errors of the CUDA runtime as the program's. Of the real device only.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/core/check.h"

namespace frugal::cu {

// what: what was asked for. Throws Error(kPreflight) where memory is short, kInternal otherwise.
inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // the next call shall not report it again
  fail(error == cudaErrorMemoryAllocation ? ErrorKind::kPreflight : ErrorKind::kInternal, what,
       ": ", cudaGetErrorString(error));
}

}  // namespace frugal::cu
