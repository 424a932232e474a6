#include "kernels/cuda/cuda_stream.h"

#include <cstdint>

#include "kernels/cuda/cuda_error.h"

namespace frugal::cu {
namespace {

// The capture that the calling thread is in; 0: none. Captures are numbered over all threads.
thread_local std::uint64_t current_capture = 0;
std::atomic<std::uint64_t> captures = 0;

class CudaEvent final : public EventState {
 public:
  CudaEvent(int device, cudaStream_t stream, std::shared_ptr<HostFailure> failure)
      : device_(device), failure_(std::move(failure)), capture_(current_capture) {
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "an event");
    check(cudaEventRecord(event_, stream), "recording an event");
  }
  ~CudaEvent() override {
    cudaSetDevice(device_);
    cudaEventDestroy(event_);
  }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  // Whether it means something to what is enqueued now (Stream::capture).
  bool counts() const { return capture_ == current_capture; }
  bool done() const override {
    if (!counts()) return true;
    cudaSetDevice(device_);
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) {
      cudaGetLastError();  // an answer, no error
      return false;
    }
    check(state, "an event");
    return true;
  }
  void wait_on_host() const override {
    if (!counts()) return;
    cudaSetDevice(device_);
    check(cudaEventSynchronize(event_), "waiting for an event");
    if (const auto failure = failure_->get()) std::rethrow_exception(failure);
  }
  cudaEvent_t handle() const { return event_; }
  const std::shared_ptr<HostFailure>& failure() const { return failure_; }

 private:
  // Watching threads have chosen no GPU, and would make a context on the first one.
  int device_;
  cudaEvent_t event_ = nullptr;
  std::shared_ptr<HostFailure> failure_;
  std::uint64_t capture_;
};

class CudaGraph final : public Graph {
 public:
  // Takes the graph.
  CudaGraph(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
    const cudaError_t error = cudaGraphInstantiate(&runnable_, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "a graph of a GPU's work");
  }
  ~CudaGraph() override { cudaGraphExecDestroy(runnable_); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  void replay() override { check(cudaGraphLaunch(runnable_, stream_), "a graph of a GPU's work"); }

 private:
  cudaGraphExec_t runnable_ = nullptr;
  cudaStream_t stream_;
};

struct HostTask {
  std::function<void()> work;
  std::shared_ptr<HostFailure> failure;
};

void run_task(void* data) {
  const std::unique_ptr<HostTask> task(static_cast<HostTask*>(data));
  if (task->failure->get()) return;
  try {
    task->work();
  } catch (...) {
    task->failure->keep(std::current_exception());
  }
}

}  // namespace

CudaStream::CudaStream(Device device) : device_(device) {
  check(cudaSetDevice(device.index), "choosing a GPU");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
}

CudaStream::~CudaStream() {
  cudaStreamSynchronize(stream_);
  cudaFree(scratch_);
  for (void* block : outgrown_) cudaFree(block);
  cudaStreamDestroy(stream_);
}

void CudaStream::record(Event& event) {
  event.set_state(std::make_shared<CudaEvent>(device_.index, stream_, failure_));
}

void CudaStream::wait(const Event& event) {
  if (event.state() == nullptr) return;
  const auto* own = dynamic_cast<const CudaEvent*>(event.state());
  if (own == nullptr) return event.wait_on_host();  // of a CPU stream
  if (!own->counts()) return;
  check(cudaStreamWaitEvent(stream_, own->handle()), "waiting for an event");
  // Host work costs a stream tens of microseconds: only for a stream that runs such.
  if (own->failure() == failure_ || !own->failure()->expected()) return;
  run_host([failure = own->failure()] {
    if (const auto other = failure->get()) std::rethrow_exception(other);
  });
}

void CudaStream::synchronize() {
  check(cudaStreamSynchronize(stream_), "a GPU's work");
  if (const auto failure = failure_->take()) std::rethrow_exception(failure);
}

void CudaStream::run_host(std::function<void()> work) {
  FRUGAL_CHECK(current_capture == 0, "host work cannot be captured");
  failure_->expect();
  auto task = std::make_unique<HostTask>(HostTask{std::move(work), failure_});
  check(cudaLaunchHostFunc(stream_, run_task, task.get()), "host work on a stream");
  task.release();  // run_task owns it
}

std::unique_ptr<Graph> CudaStream::capture(const std::function<void()>& enqueue) {
  FRUGAL_CHECK(current_capture == 0, "a capture inside another");
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capturing work");
  current_capture = ++captures;
  std::exception_ptr failure;
  try {
    enqueue();
  } catch (...) {
    failure = std::current_exception();
  }
  current_capture = 0;
  cudaGraph_t graph = nullptr;
  const cudaError_t error = cudaStreamEndCapture(stream_, &graph);
  captured_ = true;
  if (failure) {
    cudaGetLastError();
    if (graph != nullptr) cudaGraphDestroy(graph);
    std::rethrow_exception(failure);
  }
  check(error, "capturing work");
  return std::make_unique<CudaGraph>(graph, stream_);
}

void* CudaStream::scratch(std::size_t bytes) {
  if (bytes <= scratch_bytes_) return scratch_;
  FRUGAL_CHECK(current_capture == 0, "a capture asks for ", bytes, " bytes more of scratch");
  check(cudaStreamSynchronize(stream_), "a GPU's work");  // which may use the old block
  if (captured_) {
    outgrown_.push_back(scratch_);  // graphs hold its address
    scratch_ = nullptr;
  } else {
    check(cudaFree(std::exchange(scratch_, nullptr)), "releasing scratch");
  }
  scratch_bytes_ = 0;
  check(cudaMalloc(&scratch_, bytes), "scratch of a stream");
  scratch_bytes_ = bytes;
  return scratch_;
}

}  // namespace frugal::cu
