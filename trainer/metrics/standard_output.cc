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

void StandardOutput::write_lines() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const std::string lines = std::exchange(waiting_, {});
    lock.unlock();
    std::fwrite(lines.data(), 1, lines.size(), stdout);
    std::fflush(stdout);
    lock.lock();
  }
}

}  // namespace frugal
