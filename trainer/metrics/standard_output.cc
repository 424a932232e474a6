#include "trainer/metrics/standard_output.h"

#include <cstdio>
#include <utility>

namespace frugal {

StandardOutput::StandardOutput() : writer_([this] { write_lines(); }) {}

StandardOutput::~StandardOutput() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_one();
  writer_.join();
}

void StandardOutput::say(std::string_view line) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.append(line).append("\n");
  }
  changed_.notify_one();
}

void StandardOutput::finish(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  written_.wait_for(lock, limit, [this] { return waiting_.empty() && !writing_; });
}

void StandardOutput::write_lines() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const std::string lines = std::exchange(waiting_, {});
    writing_ = true;
    lock.unlock();
    std::fwrite(lines.data(), 1, lines.size(), stdout);
    std::fflush(stdout);
    lock.lock();
    writing_ = false;
    written_.notify_all();
  }
}

}  // namespace frugal
