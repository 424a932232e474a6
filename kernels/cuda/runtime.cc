// Memory and streams of GPUs, and which ones there are.
#include <cuda_runtime_api.h>

#include <cstring>
#include <memory>

#include "kernels/core/device_runtime.h"
#include "kernels/cuda/cuda_error.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

// "GPU-4ee45f2f-...", as nvidia-smi -L says.
std::string text_of(const cudaUUID_t& uuid) {
  std::string out = "GPU";
  for (int i = 0; i < 16; ++i) {
    constexpr const char* kDigits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
  return out;
}

class CudaRuntime final : public DeviceRuntime {
 public:
  void* allocate(Device device, std::size_t bytes) const override {
    if (bytes == 0) return nullptr;
    check(cudaSetDevice(device.index), "choosing a GPU");
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      fail(ErrorKind::kPreflight, "GPU ", static_cast<int>(device.index), " has ",
           info(device).free_bytes, " bytes of memory left and the run needs ", bytes,
           " more at one go: another program may have taken them (nvidia-smi shows it); wait for "
           "it, or use more ranks, a smaller batch.micro_batch_size or memory.recompute=full");
    }
    check(error, "memory of a GPU");
    check(cudaMemset(memory, 0, bytes), "clearing memory");
    // The streams of this program do not wait for the one that clears.
    check(cudaStreamSynchronize(nullptr), "clearing memory");
    return memory;
  }
  void release(Device, void* memory, std::size_t) const override { cudaFree(memory); }
  void* allocate_host(Device device, std::size_t bytes) const override {
    if (bytes == 0) return nullptr;
    check(cudaSetDevice(device.index), "choosing a GPU");
    void* memory = nullptr;
    if (cudaMallocHost(&memory, bytes) != cudaSuccess) {
      cudaGetLastError();
      fail(ErrorKind::kPreflight, "this host refused ", bytes,
           " bytes of pinned memory: free some of its memory, or raise the limit of locked memory "
           "(ulimit -l)");
    }
    std::memset(memory, 0, bytes);
    return memory;
  }
  void release_host(Device device, void* memory, std::size_t) const override {
    cudaSetDevice(device.index);
    cudaDeviceSynchronize();  // as cudaFree does by itself: copies may be under way
    cudaFreeHost(memory);
  }
  std::unique_ptr<Stream> make_stream(Device device, std::string_view) const override {
    return std::make_unique<CudaStream>(device);
  }
  DeviceInfo info(Device device) const override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device.index), "what a GPU is");
    check(cudaSetDevice(device.index), "choosing a GPU");
    DeviceInfo out{.name = properties.name, .capability = 10 * properties.major + properties.minor};
    check(cudaMemGetInfo(&out.free_bytes, &out.memory_bytes), "the memory of a GPU");
    return out;
  }
  std::string id(Device device) const override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device.index), "which GPU it is");
    return text_of(properties.uuid);
  }
};

}  // namespace

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string missing() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return "";
  if (error == cudaErrorInsufficientDriver) {
    return "this machine has no NVIDIA driver, or one older than this program needs";
  }
  return "this machine has no GPU";
}

const OpTable* table() {
  static const OpTable* const usable = []() -> const OpTable* {
    static const CudaRuntime runtime;
    static const OpTable own = {
#define OP(name) .name = &cu::name,
#include "kernels/ops/op_list.inc"
#undef OP
    };
    if (device_count() == 0) return nullptr;
    register_device_runtime(DeviceType::kCuda, &runtime);
    return &own;
  }();
  return usable;
}

}  // namespace frugal::cu
