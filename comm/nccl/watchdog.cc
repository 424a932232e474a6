#include "comm/nccl/watchdog.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "kernels/core/check.h"

namespace frugal {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(50);
constexpr auto kPatience = std::chrono::seconds(5);

}  // namespace

Watchdog::Watchdog(std::chrono::milliseconds timeout)
    : timeout_(timeout), thread_([this, rank = thread_rank()] {
        set_thread_rank(rank);
        run();
      }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (last_resort_.joinable()) last_resort_.join();
}

void Watchdog::add(Watched* watched) {
  const std::lock_guard lock(watched_mutex_);
  watched_.push_back(watched);
}

void Watchdog::remove(Watched* watched) {
  const std::lock_guard lock(watched_mutex_);
  std::erase(watched_, watched);
}

void Watchdog::fail(const std::string& message, bool known) {
  const std::lock_guard lock(mutex_);
  known_ = known_ || known;
  if (failure_) return;
  failure_ = std::make_exception_ptr(Error(ErrorKind::kCommunication, message));
  last_resort_ = std::thread([this, message, rank = thread_rank()] {
    set_thread_rank(rank);
    end_process_unless_known(message);
  });
}

bool Watchdog::failed() const {
  const std::lock_guard lock(mutex_);
  return failure_ != nullptr;
}

void Watchdog::throw_if_failed() {
  const std::lock_guard lock(mutex_);
  if (!failure_) return;
  known_ = true;
  changed_.notify_all();
  std::rethrow_exception(failure_);
}

void Watchdog::end_process_unless_known(const std::string& message) {
  std::unique_lock lock(mutex_);
  if (changed_.wait_for(lock, kPatience, [&] { return known_ || stopping_; }) &&
      changed_.wait_for(lock, kPatience, [&] { return stopping_; })) {
    return;
  }
  std::fprintf(stderr, "frugal: rank %d: %s; and NCCL does not stop\n", thread_rank(),
               message.c_str());
  std::_Exit(static_cast<int>(ErrorKind::kCommunication));
}

// After a failure side by side: ending one communicator may wait for the GPU, and so for another
// that has not ended.
void Watchdog::look() {
  const std::lock_guard watching(watched_mutex_);
  if (!failed()) {
    for (Watched* watched : watched_) watched->watch();
    return;
  }
  std::vector<std::thread> ends;
  ends.reserve(watched_.size());
  for (Watched* watched : watched_) {
    ends.emplace_back([watched, rank = thread_rank()] {
      set_thread_rank(rank);
      watched->watch();
    });
  }
  for (std::thread& end : ends) end.join();
}

void Watchdog::run() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kInterval, [&] { return stopping_; })) {
    lock.unlock();
    look();
    lock.lock();
  }
}

}  // namespace frugal
