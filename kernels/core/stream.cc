#include "kernels/core/stream.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/device_runtime.h"
#include "kernels/core/threads.h"

namespace frugal {
namespace {

class InlineStream final : public Stream {
 public:
  Device device() const override { return {}; }
  void record(Event& event) override { event.set_state(nullptr); }
  void wait(const Event& event) override { event.wait_on_host(); }
  void synchronize() override {}
  void run_host(std::function<void()> work) override { work(); }
  void* native_handle() override { return nullptr; }
};

class PlanningStream final : public Stream {
 public:
  explicit PlanningStream(Device device) : device_(device) {}
  Device device() const override { return device_; }
  void record(Event& event) override { event.set_state(nullptr); }
  void wait(const Event&) override {}
  void synchronize() override {}
  void run_host(std::function<void()>) override {}
  void* native_handle() override { return nullptr; }
  bool planning() const override { return true; }
  void plan_memory(std::size_t bytes) override { planned_ = std::max(planned_, bytes); }
  std::size_t planned_memory() const override { return planned_; }

 private:
  Device device_;
  std::size_t planned_ = 0;
};

class HostEventState final : public EventState {
 public:
  void fire(std::exception_ptr failure) {
    {
      std::lock_guard lock(mutex_);
      fired_ = true;
      failure_ = std::move(failure);
    }
    changed_.notify_all();
  }
  bool done() const override {
    std::lock_guard lock(mutex_);
    return fired_;
  }
  void wait_on_host() const override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return fired_; });
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool fired_ = false;
  std::exception_ptr failure_;
};

class ThreadedStream final : public Stream {
 public:
  ThreadedStream() : rank_(thread_rank()), compute_threads_(compute_threads()) {
    worker_ = std::thread([this] { run(); });
  }
  ~ThreadedStream() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }
  ThreadedStream(const ThreadedStream&) = delete;
  ThreadedStream& operator=(const ThreadedStream&) = delete;

  Device device() const override { return {}; }

  void record(Event& event) override {
    auto state = std::make_shared<HostEventState>();
    event.set_state(state);
    // Fires even after a failure, and carries it: whoever waits must wake up and must know.
    enqueue({[state](const std::exception_ptr& failure) { state->fire(failure); }, true});
  }
  void wait(const Event& event) override {
    if (event.state() == nullptr) return;
    enqueue({[event](const std::exception_ptr&) { event.wait_on_host(); }, false});
  }
  void synchronize() override {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return queue_.empty() && !busy_; });
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }
  void run_host(std::function<void()> work) override {
    enqueue({[work = std::move(work)](const std::exception_ptr&) { work(); }, false});
  }
  void* native_handle() override { return nullptr; }

 private:
  struct Item {
    std::function<void(const std::exception_ptr&)> work;
    bool runs_after_failure = false;
  };

  void enqueue(Item item) {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(item));
    }
    changed_.notify_all();
  }

  void run() {
    set_thread_rank(rank_);
    set_compute_threads(compute_threads_);
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      Item item = std::move(queue_.front());
      queue_.pop_front();
      busy_ = true;
      const std::exception_ptr failure = failure_;
      lock.unlock();
      std::exception_ptr thrown;
      if (!failure || item.runs_after_failure) {
        try {
          item.work(failure);
        } catch (...) {
          thrown = std::current_exception();
        }
      }
      item.work = nullptr;  // what the closure holds dies before synchronize() returns
      lock.lock();
      busy_ = false;
      if (thrown && !failure_) failure_ = thrown;
      if (queue_.empty()) idle_.notify_all();
    }
  }

  int rank_, compute_threads_;  // of the thread that made the stream
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable idle_;
  std::deque<Item> queue_;
  std::exception_ptr failure_;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread worker_;
};

}  // namespace

std::unique_ptr<Stream> make_stream(Device device, std::string_view name, StreamMode mode) {
  if (device.type != DeviceType::kCpu) return device_runtime(device.type).make_stream(device, name);
  if (mode == StreamMode::kInline) return std::make_unique<InlineStream>();
  return std::make_unique<ThreadedStream>();
}

std::unique_ptr<Stream> make_planning_stream(Device device) {
  return std::make_unique<PlanningStream>(device);
}

}  // namespace frugal
