// A stream of a GPU, its events and graphs.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/core/stream.h"

namespace frugal::cu {

// The first failure of host work on a stream; shared with the events that it has recorded.
class HostFailure {
 public:
  // From now on there may be one. Until then nobody has to look.
  void expect() { expected_ = true; }
  bool expected() const { return expected_; }
  void keep(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
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
  std::atomic<bool> expected_ = false;
};

class CudaStream final : public Stream {
 public:
  // Also makes the device the calling thread's.
  explicit CudaStream(Device device);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  Device device() const override { return device_; }
  void record(Event& event) override;
  // The event of a CPU stream is waited for by the calling thread.
  void wait(const Event& event) override;
  void synchronize() override;
  void run_host(std::function<void()> work) override;
  std::unique_ptr<Graph> capture(const std::function<void()>& enqueue) override;
  void* native_handle() override { return stream_; }

  // Device memory for what is enqueued next, free again for what is enqueued after that: one block,
  // as large as the largest that was asked for. Not from inside a capture, unless it was that large
  // before. Throws Error(kPreflight) where the GPU has too little.
  void* scratch(std::size_t bytes);

 private:
  Device device_;
  cudaStream_t stream_ = nullptr;
  void* scratch_ = nullptr;
  std::size_t scratch_bytes_ = 0;
  bool captured_ = false;
  std::vector<void*> outgrown_;
  std::shared_ptr<HostFailure> failure_ = std::make_shared<HostFailure>();
};

}  // namespace frugal::cu
