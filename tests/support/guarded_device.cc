#include "tests/support/guarded_device.h"

#include <sys/mman.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "kernels/core/check.h"
#include "kernels/core/device_runtime.h"
#include "kernels/core/stream.h"
#include "kernels/ops/op_table.h"

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

namespace test {
namespace {

std::map<void*, std::size_t> blocks;  // of the device's memory, with their bytes

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
  explicit GuardedEvent(std::shared_ptr<Queue> queue)
      : queue_(std::move(queue)), place_(queue_->enqueued()) {}
  bool done() const override { return queue_->begun >= place_; }
  void wait_on_host() const override { queue_->run(place_); }

 private:
  std::shared_ptr<Queue> queue_;
  std::size_t place_;
};

class GuardedStream final : public Stream {
 public:
  ~GuardedStream() override { queue_->run(queue_->enqueued()); }
  GuardedStream() = default;
  GuardedStream(const GuardedStream&) = delete;
  GuardedStream& operator=(const GuardedStream&) = delete;

  Device device() const override { return kGuarded; }
  void record(Event& event) override { event.set_state(std::make_shared<GuardedEvent>(queue_)); }
  void wait(const Event& event) override {
    queue_->waiting.emplace_back([event] { event.wait_on_host(); });
  }
  void synchronize() override { queue_->run(queue_->enqueued()); }
  void run_host(std::function<void()> work) override {
    queue_->waiting.emplace_back([work = std::move(work)] {
      protect(PROT_READ | PROT_WRITE);
      work();
      protect(PROT_NONE);
    });
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
  std::unique_ptr<Stream> make_stream(Device, std::string_view) const override {
    return std::make_unique<GuardedStream>();
  }
};

const GuardedRuntime runtime;

}  // namespace

void install_guarded_device(const OpTable& table) {
  installed = table;
  register_device_runtime(kGuarded.type, &runtime);
}

}  // namespace test
}  // namespace frugal
