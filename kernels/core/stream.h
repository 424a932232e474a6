// One asynchronous model for every device: work is enqueued on a Stream and ordered by Events.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

#include "kernels/core/device.h"

namespace frugal {

// What a device keeps behind an Event. Implemented next to that device's Stream.
class EventState {
 public:
  virtual ~EventState() = default;
  virtual bool done() const = 0;
  // Blocks the calling thread until the event fires; rethrows a failure of the work before it.
  virtual void wait_on_host() const = 0;
};

// A point in a stream. Copies refer to the same point. A default Event has already fired.
// Thread-safe to read.
class Event {
 public:
  bool done() const { return state_ == nullptr || state_->done(); }
  void wait_on_host() const {
    if (state_ != nullptr) state_->wait_on_host();
  }
  void set_state(std::shared_ptr<const EventState> state) { state_ = std::move(state); }
  const EventState* state() const { return state_.get(); }

 private:
  std::shared_ptr<const EventState> state_;
};

// Work that was captured from a stream, to be enqueued again and again as one (a CUDA graph).
class Graph {
 public:
  virtual ~Graph() = default;
  // Enqueues all of it on the stream that it was captured from.
  virtual void replay() = 0;
};

// An in-order queue of work on one device. Every op and every collective takes one and returns at
// once. Enqueue from one thread at a time. The destructor waits for the queue to drain and swallows
// failures: call synchronize() first where they matter.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Device device() const = 0;
  // event fires when the work enqueued so far is done.
  virtual void record(Event& event) = 0;
  // Later work on this stream waits for event; the caller does not (an inline stream, which is its
  // caller, does). A failure that the event carries becomes a failure of this stream.
  virtual void wait(const Event& event) = 0;
  // The caller waits until the queue is empty; rethrows a failure of earlier work, once.
  virtual void synchronize() = 0;
  // Runs work in stream order on a host thread; no device calls inside. After a failure later work
  // is skipped until synchronize() has reported it.
  virtual void run_host(std::function<void()> work) = 0;
  // Calls enqueue, which enqueues work on this stream, and on others that it orders after and again
  // before this one by events; none of that runs. Returns it, or nullptr, and then enqueue was not
  // called, where the device has no graphs. What the work reads and writes, its scalars too, is
  // what it was at capture. Events from before count as fired inside, and events from inside do
  // later: REQUIRES: the other streams are idle, and whoever replays waits before it uses others
  // of them. Throws what enqueue throws, and Error(kInternal) for host work, which no graph can
  // hold.
  virtual std::unique_ptr<Graph> capture(const std::function<void()>&) { return nullptr; }
  // cudaStream_t, or nullptr on the CPU.
  virtual void* native_handle() = 0;
  // True for a planning stream: ops check their shapes and do nothing, host work is dropped.
  virtual bool planning() const { return false; }
  // Memory that an op keeps to itself from call to call, told before it is needed. A planning
  // stream remembers the largest: all calls of an op share what the longest one needs.
  virtual void plan_memory(std::size_t) {}
  virtual std::size_t planned_memory() const { return 0; }  // bytes
};

enum class StreamMode {
  // Work runs inside the enqueuing call; a failure is thrown by that call.
  kInline,
  // Work runs on the stream's own thread, with the rank and the compute threads of the thread that
  // made the stream; a failure is kept and rethrown by synchronize().
  kThreaded,
};

// mode is a CPU matter: device streams are always asynchronous. name is for device profilers.
std::unique_ptr<Stream> make_stream(Device device, std::string_view name,
                                    StreamMode mode = StreamMode::kInline);

// Runs nothing, on any device, present or not: layer code on null tensors says what it needs.
std::unique_ptr<Stream> make_planning_stream(Device device);

}  // namespace frugal
