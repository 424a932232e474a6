// Lines on standard output that nobody has to wait for.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace frugal {

// Writes on a thread of its own: a reader that pauses holds up no training. mpirun is such a
// reader: after a signal it waits for its ranks' end, and a pseudo-terminal holds four KiB.
// Used by one thread.
class StandardOutput {
 public:
  StandardOutput();
  // Waits until everything is written.
  ~StandardOutput();
  StandardOutput(const StandardOutput&) = delete;
  StandardOutput& operator=(const StandardOutput&) = delete;

  // Adds the line's end. Returns at once; lines keep their order.
  void say(std::string_view line);
  // Waits until everything is written, for so long at most.
  void finish(std::chrono::milliseconds limit);

 private:
  void write_lines();

  std::mutex mutex_;
  std::condition_variable changed_, written_;
  std::string waiting_;
  bool writing_ = false, closing_ = false;
  std::thread writer_;
};

}  // namespace frugal
