// What notices that NCCL has failed or waits in vain.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace frugal {

// Something to look at, again and again, from the watchdog's thread.
class Watched {
 public:
  virtual ~Watched() = default;
  virtual void watch() = 0;
};

// One for all communicators of a rank: the first failure of one is the failure of all. Thread-safe.
class Watchdog {
 public:
  explicit Watchdog(std::chrono::milliseconds timeout);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // A call may take so long.
  std::chrono::milliseconds timeout() const { return timeout_; }
  void add(Watched* watched);
  void remove(Watched* watched);  // returns when nobody looks at it any more

  // From now on throw_if_failed() throws Error(kCommunication) with the first message. Whoever
  // calls that next knows, or calls this and says so; if nobody does in five seconds, or the
  // watchdog still lives five seconds after that, the rank is stuck where it cannot be woken, and
  // its process ends with exit code 6.
  void fail(const std::string& message, bool known = false);
  bool failed() const;
  void throw_if_failed();

 private:
  void run();
  void look();
  void end_process_unless_known(const std::string& message);

  std::chrono::milliseconds timeout_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::exception_ptr failure_;
  bool known_ = false;  // to the rank's own threads
  bool stopping_ = false;
  std::mutex watched_mutex_;
  std::vector<Watched*> watched_;
  std::thread last_resort_;  // from the failure on
  std::thread thread_;
};

}  // namespace frugal
