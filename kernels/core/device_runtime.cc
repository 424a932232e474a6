#include "kernels/core/device_runtime.h"

#include <sys/mman.h>

#include <array>

#include "kernels/core/check.h"
#include "kernels/core/stream.h"

namespace frugal {
namespace {

// Pages are zero and cost nothing until touched, so a plan may be allocated whole.
class CpuRuntime final : public DeviceRuntime {
 public:
  void* allocate(Device, std::size_t bytes) const override {
    if (bytes == 0) return nullptr;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      fail(ErrorKind::kPreflight, "the machine refused ", bytes,
           " bytes of memory: use more ranks, a smaller micro-batch or memory.recompute=full");
    }
    madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
  }
  void release(Device, void* memory, std::size_t bytes) const override {
    if (memory != nullptr) munmap(memory, bytes);
  }
  void* allocate_host(Device device, std::size_t bytes) const override {
    return allocate(device, bytes);
  }
  void release_host(Device device, void* memory, std::size_t bytes) const override {
    release(device, memory, bytes);
  }
  std::unique_ptr<Stream> make_stream(Device device, std::string_view name) const override {
    return frugal::make_stream(device, name);
  }
  DeviceInfo info(Device) const override { return {.name = "CPU"}; }
  std::string id(Device) const override { return "CPU"; }
};

const CpuRuntime cpu_runtime;
std::array<const DeviceRuntime*, 2> runtimes{&cpu_runtime, nullptr};

}  // namespace

void register_device_runtime(DeviceType type, const DeviceRuntime* runtime) {
  runtimes[static_cast<std::size_t>(type)] = runtime;
}

const DeviceRuntime& device_runtime(DeviceType type) {
  const DeviceRuntime* runtime = runtimes[static_cast<std::size_t>(type)];
  if (runtime == nullptr) {
    fail(ErrorKind::kPreflight, "this binary was built without CUDA: use device: cpu");
  }
  return *runtime;
}

}  // namespace frugal
