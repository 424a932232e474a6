// One NCCL communicator, and what is under way on it.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "comm/nccl/library.h"
#include "comm/nccl/watchdog.h"
#include "comm/process_group.h"

namespace frugal {

// NCCL's calls do not block: each is polled until it is no longer in progress. The thread of the
// rank enqueues, the watchdog looks on.
class Communicator final : public Watched {
 public:
  struct Members {
    int rank = 0;                  // among them
    std::vector<int> world_ranks;  // of all, for messages
  };
  // Collective over the members, who share the id; on the calling thread's GPU. Throws
  // Error(kCommunication).
  Communicator(const NcclLibrary& nccl, std::shared_ptr<Watchdog> watchdog, ncclUniqueId id,
               Members members);
  ~Communicator() override;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  // Enqueues all transfers as one group. Throws Error(kCommunication) when this rank has failed,
  // and so does the stream when it comes to a call that did not end well.
  void enqueue(const std::vector<PeerTransfer>& transfers, const char* what, Stream& stream);
  void watch() override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Call {
    std::string text;         // names it
    std::int64_t number = 0;  // in its communicator, from 1
    Event begun;
    std::shared_ptr<std::atomic<bool>> done = std::make_shared<std::atomic<bool>>(false);
    std::optional<Clock::time_point> seen_begun;
  };

  ncclResult_t start(const std::vector<PeerTransfer>& transfers, Stream& stream);
  // The end of what `result` began, as polling shows it. In progress: not in the given time.
  ncclResult_t settle(ncclResult_t result, std::chrono::milliseconds limit);
  std::string why(ncclResult_t result) const;
  std::string name_call(const std::vector<PeerTransfer>& transfers, const char* what) const;
  void look_at_oldest();
  void abort();

  const NcclLibrary& nccl_;
  std::shared_ptr<Watchdog> watchdog_;
  Members members_;
  std::mutex mutex_;  // of what follows
  ncclComm_t comm_ = nullptr;
  std::int64_t calls_ = 0;
  std::deque<Call> under_way_;  // oldest first
};

}  // namespace frugal
