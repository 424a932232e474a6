// From an op to its kernel.
#pragma once

#include <string_view>

#include "kernels/core/check.h"
#include "kernels/core/stream.h"
#include "kernels/cuda/device/language.h"
#ifdef __CUDACC__
#include "kernels/cuda/cuda_stream.h"
#endif
#include "kernels/ops/product.h"

namespace frugal::cu {

// What the GPU of a stream can do.
struct Gpu {
  int version = 0;               // compute capability: 75, 80, ...
  std::size_t shared_bytes = 0;  // at most, of a block
};
inline Gpu gpu_of([[maybe_unused]] const Stream& stream) {
#ifdef __CUDACC__
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    const cudaError_t error = cudaDeviceGetAttribute(&value, which, stream.device().index);
    FRUGAL_CHECK(error == cudaSuccess, "asking a GPU what it can do: ", cudaGetErrorString(error));
    return value;
  };
  return {
      .version = 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
                 attribute(cudaDevAttrComputeCapabilityMinor),
      .shared_bytes = static_cast<std::size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin))};
#else
  const emulation::Capability& capability = emulation::capability();
  return {.version = capability.version, .shared_bytes = capability.shared_bytes};
#endif
}

struct LaunchShape {
  std::int64_t blocks_x = 1, blocks_y = 1;
  int threads = 256;  // of a block
  std::size_t shared_bytes = 0;
};

// A thread for each of `items`; the last block may have more.
constexpr int kItemThreads = 256;
inline LaunchShape thread_for_each(std::int64_t items) {
  return {.blocks_x = (items + kItemThreads - 1) / kItemThreads, .threads = kItemThreads};
}

// Enqueues the kernel; a grid without blocks is nothing to do. name: the op, for messages. Throws
// Error(kInternal) when the device refuses the launch.
template <class... Parameters, class... Arguments>
void launch(Stream& stream, std::string_view name, const LaunchShape& shape,
            void (*kernel)(Parameters...), const Arguments&... arguments) {
  if (shape.blocks_x == 0 || shape.blocks_y == 0 || stream.planning()) return;
  FRUGAL_CHECK(shape.blocks_x < (std::int64_t{1} << 31) && shape.blocks_y < 65536, name,
               ": a grid of ", shape.blocks_x, " x ", shape.blocks_y, " blocks");
  const dim3 blocks{static_cast<unsigned>(shape.blocks_x), static_cast<unsigned>(shape.blocks_y),
                    1};
  const auto threads = static_cast<unsigned>(shape.threads);
#ifdef __CUDACC__
  constexpr std::size_t kUnasked = 48 * 1024;  // more than this a kernel must ask for
  if (shape.shared_bytes > kUnasked) {
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes));
    FRUGAL_CHECK(error == cudaSuccess, name, ": ", shape.shared_bytes,
                 " bytes of shared memory: ", cudaGetErrorString(error));
  }
  kernel<<<blocks, threads, shape.shared_bytes,
           static_cast<cudaStream_t>(stream.native_handle())>>>(arguments...);
  const cudaError_t error = cudaGetLastError();
  FRUGAL_CHECK(error == cudaSuccess, name, ": ", cudaGetErrorString(error));
#else
  stream.run_host([=] {
    emulation::run_grid({name, blocks, threads, shape.shared_bytes}, [&] { kernel(arguments...); });
  });
#endif
}

// Device memory for what is enqueued next on this stream, free again for what is enqueued after
// that. Not filled. At most kProductScratchBytes (kernels/ops/product.h): those are planned.
inline void* scratch([[maybe_unused]] Stream& stream, std::size_t bytes) {
  FRUGAL_CHECK(bytes <= kProductScratchBytes, bytes, " bytes of scratch were not planned");
#ifdef __CUDACC__
  return static_cast<CudaStream&>(stream).scratch(bytes);
#else
  return emulation::scratch(bytes);
#endif
}

// Enqueues a copy; each side may lie on the device or on the host.
inline void copy_bytes(Stream& stream, void* to, const void* from, std::size_t bytes) {
  if (stream.planning()) return;
#ifdef __CUDACC__
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault,
                                            static_cast<cudaStream_t>(stream.native_handle()));
  FRUGAL_CHECK(error == cudaSuccess, "copy: ", cudaGetErrorString(error));
#else
  stream.run_host([=] { std::memcpy(to, from, bytes); });
#endif
}

}  // namespace frugal::cu
