#include "tests/support/guarded_device.h"

#include <sys/mman.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "kernels/core/check.h"
#include "kernels/core/device_runtime.h"
#include "kernels/core/stream.h"
#include "kernels/ops/op_table.h"
#include "kernels/ops/product.h"

namespace frugal {
namespace {

OpTable installed;

}  // namespace

// In place of kernels/cuda/unavailable.cc.
const OpTable* cu::table() {
  return &installed;
}
std::string cu::missing() {
  return "";
}
int cu::device_count() {
  return 1;
}
// Says who chose, so that a run that lost the choices shows it.
void cu::choose_algorithms(Device, const std::set<Product>& products, AlgorithmChoices& choices) {
  for (const Product& product : products) {
    choices.emplace(concat("guarded; ", text_of(product)), concat("choice ", choices.size()));
  }
}

namespace test {
namespace {

std::map<void*, std::size_t> blocks;  // of the device's memory, with their bytes
DeviceInfo own_info;
GraphCount graphs;
// Work in the order in which it is enqueued on whatever stream, while some stream captures: that
// order is one of those which the streams and events allow.
std::vector<std::function<void()>>* captured = nullptr;

void protect(int access) {
  for (const auto& [block, bytes] : blocks) mprotect(block, bytes, access);
}

// Everything ever enqueued on a stream, in order; outlives it for the sake of events.
struct Queue {
  std::deque<std::function<void()>> waiting;
  std::size_t begun = 0;

  std::size_t enqueued() const { return begun + waiting.size(); }
  void run(std::size_t until) {
    while (begun < until) {
      const auto work = std::move(waiting.front());
      waiting.pop_front();
      ++begun;
      work();
    }
  }
};

class GuardedEvent final : public EventState {
 public:
  // Without a queue, as in a capture, it has fired.
  explicit GuardedEvent(std::shared_ptr<Queue> queue)
      : queue_(std::move(queue)), place_(queue_ ? queue_->enqueued() : 0) {}
  bool done() const override { return !queue_ || queue_->begun >= place_; }
  void wait_on_host() const override {
    if (queue_) queue_->run(place_);
  }

 private:
  std::shared_ptr<Queue> queue_;
  std::size_t place_;
};

class GuardedGraph final : public Graph {
 public:
  explicit GuardedGraph(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {}
  void replay() override {
    for (const auto& item : work) queue_->waiting.push_back(item);
    ++graphs.replayed;
  }
  std::vector<std::function<void()>> work;

 private:
  std::shared_ptr<Queue> queue_;
};

class GuardedStream final : public Stream {
 public:
  ~GuardedStream() override { queue_->run(queue_->enqueued()); }
  GuardedStream() = default;
  GuardedStream(const GuardedStream&) = delete;
  GuardedStream& operator=(const GuardedStream&) = delete;

  Device device() const override { return kGuarded; }
  void record(Event& event) override {
    event.set_state(std::make_shared<GuardedEvent>(captured == nullptr ? queue_ : nullptr));
  }
  void wait(const Event& event) override {
    if (captured != nullptr) return;
    queue_->waiting.emplace_back([event] { event.wait_on_host(); });
  }
  void synchronize() override { queue_->run(queue_->enqueued()); }
  void run_host(std::function<void()> work) override {
    auto guarded = [work = std::move(work)] {
      protect(PROT_READ | PROT_WRITE);
      work();
      protect(PROT_NONE);
    };
    if (captured != nullptr) {
      captured->emplace_back(std::move(guarded));
    } else {
      queue_->waiting.emplace_back(std::move(guarded));
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
  void* native_handle() override { return nullptr; }

 private:
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
};

class GuardedRuntime final : public DeviceRuntime {
 public:
  void* allocate(Device, std::size_t bytes) const override {
    void* block = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FRUGAL_CHECK(block != MAP_FAILED, bytes, " bytes");
    madvise(block, bytes, MADV_HUGEPAGE);  // fewer pages to protect
    blocks.emplace(block, bytes);
    return block;
  }
  void release(Device, void* block, std::size_t bytes) const override {
    blocks.erase(block);
    munmap(block, bytes);
  }
  void* allocate_host(Device, std::size_t bytes) const override {
    return device_runtime(DeviceType::kCpu).allocate({}, bytes);
  }
  void release_host(Device, void* memory, std::size_t bytes) const override {
    device_runtime(DeviceType::kCpu).release({}, memory, bytes);
  }
  std::unique_ptr<Stream> make_stream(Device, std::string_view) const override {
    return std::make_unique<GuardedStream>();
  }
  DeviceInfo info(Device) const override { return own_info; }
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
  register_device_runtime(kGuarded.type, &runtime);
}

void set_guarded_device_info(const DeviceInfo& info) {
  own_info = info;
}

GraphCount guarded_device_graphs() {
  return graphs;
}

}  // namespace test
}  // namespace frugal
