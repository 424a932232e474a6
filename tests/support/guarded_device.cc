#include "tests/support/guarded_device.h"

#include <sys/mman.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/core/check.h"
#include "kernels/core/device_runtime.h"
#include "kernels/core/stream.h"
#include "kernels/ops/attention_choice.h"
#include "kernels/ops/op_table.h"

namespace frugal {
namespace {

OpTable installed;
int libraries = 1;
thread_local std::vector<std::string> gpus{"GPU-guarded"};

}  // namespace

// In place of kernels/cuda/unavailable.cc.
const OpTable* cu::table() {
  return &installed;
}
std::string cu::missing() {
  return "";
}
int cu::device_count() {
  return static_cast<int>(gpus.size());
}
// Says who chose, so that a run that lost the choices shows it.
void cu::choose_algorithms(Device, const std::set<Product>& products, AlgorithmChoices& choices) {
  for (const Product& product : products) {
    choices.emplace(concat("guarded; library ", libraries, "; ", text_of(product)),
                    concat("choice ", choices.size()));
  }
}
AlgorithmChoices cu::attention_choices(Device, const std::set<PlannedAttention>& attentions) {
  AlgorithmChoices out;
  for (const PlannedAttention& attention : attentions) {
    out.emplace(concat("guarded; attention; ", text_of(attention)), concat("library ", libraries));
  }
  return out;
}

namespace test {
namespace {

DeviceInfo own_info;
GraphCount graphs;
// Work in the order in which it is enqueued on whatever stream, while this thread captures: that
// order is one of those which the streams and events allow.
thread_local std::vector<std::function<void()>>* captured = nullptr;

// The device's memory: open while a stream of any rank works.
class Memory {
 public:
  void* allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    void* block = mmap(nullptr, bytes, access(), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FRUGAL_CHECK(block != MAP_FAILED, bytes, " bytes");
    madvise(block, bytes, MADV_HUGEPAGE);  // fewer pages to protect
    blocks_.emplace(block, bytes);
    return block;
  }
  void release(void* block, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    blocks_.erase(block);
    munmap(block, bytes);
  }
  void open() {
    const std::lock_guard lock(mutex_);
    if (++working_ == 1) protect();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (--working_ == 0) protect();
  }

 private:
  int access() const { return working_ > 0 ? PROT_READ | PROT_WRITE : PROT_NONE; }
  void protect() {
    for (const auto& [block, bytes] : blocks_) mprotect(block, bytes, access());
  }

  std::mutex mutex_;
  std::map<void*, std::size_t> blocks_;  // with their bytes
  int working_ = 0;
};
Memory memory;

// Everything ever enqueued on a stream, in order; outlives it for the sake of events. Works on the
// thread that waits for it: one at a time.
class Queue {
 public:
  void add(std::function<void()> work, bool also_after_failure) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(work), also_after_failure});
    ++enqueued_;
  }
  std::size_t enqueued() const {
    const std::lock_guard lock(mutex_);
    return enqueued_;
  }
  bool done(std::size_t place) const { return finished_ >= place; }
  // Several threads may ask: one takes an item while the others wait, for their own place alone,
  // since what comes after it may wait for them.
  void run(std::size_t until) {
    if (done(until)) return;  // also while an event in this queue waits for an earlier one
    memory.open();
    std::unique_lock lock(mutex_);
    while (!done(until)) {
      if (busy_) {
        changed_.wait(lock);
        continue;
      }
      busy_ = true;
      const Item item = std::move(waiting_.front());
      waiting_.pop_front();
      const bool skipped = failure_ != nullptr && !item.also_after_failure;
      lock.unlock();
      std::exception_ptr thrown;
      try {
        if (!skipped) item.work();
      } catch (...) {
        thrown = std::current_exception();
      }
      lock.lock();
      if (failure_ == nullptr) failure_ = thrown;
      ++finished_;
      busy_ = false;
      changed_.notify_all();
    }
    lock.unlock();
    memory.close();
  }
  std::exception_ptr failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  std::exception_ptr take_failure() {
    const std::lock_guard lock(mutex_);
    return std::exchange(failure_, nullptr);
  }

 private:
  struct Item {
    std::function<void()> work;
    bool also_after_failure;
  };
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false;
  std::deque<Item> waiting_;
  std::size_t enqueued_ = 0;
  std::atomic<std::size_t> finished_ = 0;
  std::exception_ptr failure_;
};

class GuardedEvent final : public EventState {
 public:
  // Without a queue, as in a capture, it has fired.
  explicit GuardedEvent(std::shared_ptr<Queue> queue)
      : queue_(std::move(queue)), place_(queue_ ? queue_->enqueued() : 0) {}
  bool done() const override { return !queue_ || queue_->done(place_); }
  void wait_on_host() const override {
    if (!queue_) return;
    queue_->run(place_);
    if (const auto failure = queue_->failure()) std::rethrow_exception(failure);
  }

 private:
  std::shared_ptr<Queue> queue_;
  std::size_t place_;
};

class GuardedGraph final : public Graph {
 public:
  explicit GuardedGraph(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {}
  void replay() override {
    for (const auto& item : work) queue_->add(item, false);
    ++graphs.replayed;
  }
  std::vector<std::function<void()>> work;

 private:
  std::shared_ptr<Queue> queue_;
};

class GuardedStream final : public Stream {
 public:
  explicit GuardedStream(Device device) : device_(device) {}
  ~GuardedStream() override { queue_->run(queue_->enqueued()); }
  GuardedStream(const GuardedStream&) = delete;
  GuardedStream& operator=(const GuardedStream&) = delete;

  Device device() const override { return device_; }
  void record(Event& event) override {
    event.set_state(std::make_shared<GuardedEvent>(captured == nullptr ? queue_ : nullptr));
  }
  void wait(const Event& event) override {
    if (captured != nullptr) return;
    if (dynamic_cast<const GuardedEvent*>(event.state()) == nullptr) return event.wait_on_host();
    queue_->add([event] { event.wait_on_host(); }, true);
  }
  void synchronize() override {
    queue_->run(queue_->enqueued());
    if (const auto failure = queue_->take_failure()) std::rethrow_exception(failure);
  }
  void run_host(std::function<void()> work) override {
    if (captured != nullptr) {
      captured->emplace_back(std::move(work));
    } else {
      queue_->add(std::move(work), false);
    }
  }
  std::unique_ptr<Graph> capture(const std::function<void()>& enqueue) override {
    auto graph = std::make_unique<GuardedGraph>(queue_);
    captured = &graph->work;
    enqueue();
    captured = nullptr;
    ++graphs.captured;
    return graph;
  }
  void* native_handle() override { return static_cast<Stream*>(this); }

 private:
  Device device_;
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
};

class GuardedRuntime final : public DeviceRuntime {
 public:
  void* allocate(Device, std::size_t bytes) const override { return memory.allocate(bytes); }
  void release(Device, void* block, std::size_t bytes) const override {
    memory.release(block, bytes);
  }
  void* allocate_host(Device, std::size_t bytes) const override {
    return device_runtime(DeviceType::kCpu).allocate({}, bytes);
  }
  void release_host(Device, void* memory, std::size_t bytes) const override {
    device_runtime(DeviceType::kCpu).release({}, memory, bytes);
  }
  std::unique_ptr<Stream> make_stream(Device device, std::string_view) const override {
    return std::make_unique<GuardedStream>(device);
  }
  DeviceInfo info(Device) const override { return own_info; }
  std::string id(Device device) const override {
    return gpus.at(static_cast<std::size_t>(device.index));
  }
};

const GuardedRuntime runtime;

}  // namespace

void install_guarded_device(const OpTable& table) {
  installed = table;
  own_info = {.name = "Guarded",
              .capability = 90,
              .memory_bytes = std::size_t{1} << 40U,
              .free_bytes = std::size_t{1} << 40U};
  graphs = {};
  libraries = 1;
  gpus = {"GPU-guarded"};
  register_device_runtime(kGuarded.type, &runtime);
}

void set_guarded_device_info(const DeviceInfo& info) {
  own_info = info;
}

void set_guarded_gpus(std::vector<std::string> ids) {
  gpus = std::move(ids);
}

void set_guarded_libraries(int version) {
  libraries = version;
}

GraphCount guarded_device_graphs() {
  return graphs;
}

}  // namespace test
}  // namespace frugal
