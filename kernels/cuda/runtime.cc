// Streams, events and memory of GPUs, and whether there are any.
#include <cuda_runtime_api.h>

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/device_runtime.h"
#include "kernels/core/stream.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  const bool memory = error == cudaErrorMemoryAllocation;
  fail(memory ? ErrorKind::kPreflight : ErrorKind::kInternal, what, ": ",
       cudaGetErrorString(error));
}

// The first failure of host work on a stream; shared with the events that it has recorded.
class Failure {
 public:
  void keep(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
  }
  bool any() const {
    const std::lock_guard lock(mutex_);
    return failure_ != nullptr;
  }
  std::exception_ptr get() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  std::exception_ptr take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(failure_, nullptr);
  }

 private:
  mutable std::mutex mutex_;
  std::exception_ptr failure_;
};

class CudaEvent final : public EventState {
 public:
  CudaEvent(cudaStream_t stream, std::shared_ptr<Failure> failure) : failure_(std::move(failure)) {
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "an event");
    check(cudaEventRecord(event_, stream), "recording an event");
  }
  ~CudaEvent() override { cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  bool done() const override {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) return false;
    check(state, "an event");
    return true;
  }
  void wait_on_host() const override {
    check(cudaEventSynchronize(event_), "waiting for an event");
    if (const auto failure = failure_->get()) std::rethrow_exception(failure);
  }
  cudaEvent_t handle() const { return event_; }
  const std::shared_ptr<Failure>& failure() const { return failure_; }

 private:
  cudaEvent_t event_ = nullptr;
  std::shared_ptr<Failure> failure_;
};

class CudaStream final : public Stream {
 public:
  explicit CudaStream(Device device) : device_(device) {
    check(cudaSetDevice(device.index), "choosing a GPU");  // of this thread, from now on
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
  }
  ~CudaStream() override {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  Device device() const override { return device_; }
  void record(Event& event) override {
    event.set_state(std::make_shared<CudaEvent>(stream_, failure_));
  }
  void wait(const Event& event) override {
    if (event.state() == nullptr) return;
    const auto* own = dynamic_cast<const CudaEvent*>(event.state());
    if (own == nullptr) return event.wait_on_host();  // of a CPU stream
    check(cudaStreamWaitEvent(stream_, own->handle()), "waiting for an event");
    run_host([failure = own->failure()] {
      if (const auto other = failure->get()) std::rethrow_exception(other);
    });
  }
  void synchronize() override {
    check(cudaStreamSynchronize(stream_), "a GPU's work");
    if (const auto failure = failure_->take()) std::rethrow_exception(failure);
  }
  void run_host(std::function<void()> work) override {
    auto task = std::make_unique<Task>(Task{std::move(work), failure_});
    check(cudaLaunchHostFunc(stream_, run, task.get()), "host work on a stream");
    task.release();  // run() owns it
  }
  void* native_handle() override { return stream_; }

 private:
  struct Task {
    std::function<void()> work;
    std::shared_ptr<Failure> failure;
  };
  static void run(void* data) {
    const std::unique_ptr<Task> task(static_cast<Task*>(data));
    if (task->failure->any()) return;
    try {
      task->work();
    } catch (...) {
      task->failure->keep(std::current_exception());
    }
  }

  Device device_;
  cudaStream_t stream_ = nullptr;
  std::shared_ptr<Failure> failure_ = std::make_shared<Failure>();
};

class CudaRuntime final : public DeviceRuntime {
 public:
  void* allocate(Device device, std::size_t bytes) const override {
    if (bytes == 0) return nullptr;
    check(cudaSetDevice(device.index), "choosing a GPU");
    void* memory = nullptr;
    if (cudaMalloc(&memory, bytes) == cudaErrorMemoryAllocation) {
      std::size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      fail(ErrorKind::kPreflight, "GPU ", static_cast<int>(device.index), " has ", free,
           " bytes of memory left and the run needs ", bytes,
           ": use more ranks, a smaller batch.micro_batch_size or memory.recompute=full");
    }
    check(cudaMemset(memory, 0, bytes), "clearing memory");
    return memory;
  }
  void release(Device, void* memory, std::size_t) const override { cudaFree(memory); }
  std::unique_ptr<Stream> make_stream(Device device, std::string_view) const override {
    return std::make_unique<CudaStream>(device);
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
