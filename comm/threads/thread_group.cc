// Ranks as threads of one process.
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "comm/host_group.h"
#include "comm/world.h"

namespace frugal {
namespace {

// One side of a transfer, on the stack of the call that posted it. Peers reach it through the
// exchange, so the call stays until nobody can.
struct Posted {
  PeerTransfer transfer;
  int owner;
  enum class State : std::uint8_t { kWaiting, kCopying, kDone } state = State::kWaiting;
};

// What the members of one group share. Lives as long as the last member.
class Exchange {
 public:
  explicit Exchange(int size) : size_(size), wake_(static_cast<std::size_t>(size)) {}
  int size() const { return size_; }

  void transfer(int rank, std::span<const PeerTransfer> transfers, const char* what) {
    std::vector<Posted> posted;
    posted.reserve(transfers.size());
    std::unique_lock lock(mutex_);
    try {
      check(what);
      for (const PeerTransfer& t : transfers)
        post(posted.emplace_back(Posted{t, rank}), lock, what);
      wait(rank, lock, [&] {
        return failure_ ||
               (!any(posted, Posted::State::kWaiting) && !any(posted, Posted::State::kCopying));
      });
      check(what);
    } catch (...) {
      // Nobody may find this call's stack any more, and whoever has found it must be done with it.
      for (auto& [ends, queue] : waiting_) {
        std::erase_if(queue, [&](const Posted* p) { return p->owner == rank; });
      }
      wait(rank, lock, [&] { return !any(posted, Posted::State::kCopying); });
      throw;
    }
  }

  void barrier(int rank) {
    std::unique_lock lock(mutex_);
    const int generation = generation_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++generation_;
      wake_all();
    }
    wait(rank, lock, [&] { return failure_ || generation_ != generation; });
    check("barrier");
  }

  // Every member brings a color and a key; the last one makes the new groups.
  std::pair<std::shared_ptr<Exchange>, int> split(int rank, int color, int key) {
    {
      const std::lock_guard lock(mutex_);
      wishes_[rank] = {color, key};
    }
    barrier(rank);
    std::shared_ptr<Exchange> result;
    int new_rank = 0;
    {
      const std::lock_guard lock(mutex_);
      int members = 0;
      for (const auto& [other, wish] : wishes_) {
        if (wish.first != color) continue;
        ++members;
        if (std::pair(wish.second, other) < std::pair(key, rank)) ++new_rank;
      }
      if (color >= 0) {
        auto& group = made_[color];
        if (group == nullptr) group = std::make_shared<Exchange>(members);
        result = group;
        if (new_rank == 0) children_.push_back(group);
      }
    }
    barrier(rank);
    {
      const std::lock_guard lock(mutex_);
      wishes_.clear();
      made_.clear();
    }
    barrier(rank);
    return {result, new_rank};
  }

  // Every member's waiting and later calls throw, here and in groups split from this one.
  void abort(const std::exception_ptr& why) {
    std::vector<std::weak_ptr<Exchange>> children;
    {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = why;
      children = children_;
      wake_all();
    }
    for (const auto& child : children) {
      if (const auto alive = child.lock()) alive->abort(why);
    }
  }

  // Of the first rank that failed; null: none has.
  std::exception_ptr failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

 private:
  // Meets the oldest other half between the two ranks, or waits for it in the queue. Whoever comes
  // second copies, without the lock: a large payload delays nobody else.
  void post(Posted& own, std::unique_lock<std::mutex>& lock, const char* what) {
    const bool sends = own.transfer.kind == PeerTransfer::Kind::kSend;
    const int peer = own.transfer.peer;
    auto& queue = waiting_[sends ? std::pair(own.owner, peer) : std::pair(peer, own.owner)];
    if (queue.empty() || queue.front()->transfer.kind == own.transfer.kind) {
      queue.push_back(&own);
      return;
    }
    Posted& other = *queue.front();
    const Tensor& from = sends ? own.transfer.tensor : other.transfer.tensor;
    const Tensor& to = sends ? other.transfer.tensor : own.transfer.tensor;
    FRUGAL_CHECK(from.bytes() == to.bytes(), what, ": a send of ", from.bytes(),
                 " bytes meets a receive of ", to.bytes());
    queue.pop_front();
    own.state = other.state = Posted::State::kCopying;
    lock.unlock();
    if (from.bytes() > 0) std::memcpy(to.data, from.data, from.bytes());
    lock.lock();
    own.state = other.state = Posted::State::kDone;
    wake_[static_cast<std::size_t>(peer)].notify_all();
  }

  static bool any(const std::vector<Posted>& posted, Posted::State state) {
    return std::ranges::any_of(posted, [&](const Posted& p) { return p.state == state; });
  }

  template <class Condition>
  void wait(int rank, std::unique_lock<std::mutex>& lock, const Condition& condition) {
    wake_[static_cast<std::size_t>(rank)].wait(lock, condition);
  }

  void wake_all() {
    for (auto& waiter : wake_) waiter.notify_all();
  }

  void check(const char* what) const {
    if (failure_) fail(ErrorKind::kCommunication, what, ": another rank has failed");
  }

  int size_;
  std::mutex mutex_;
  std::vector<std::condition_variable> wake_;  // by rank
  // By sender and receiver: halves that wait for the other, all of one kind, oldest first.
  std::map<std::pair<int, int>, std::deque<Posted*>> waiting_;
  std::exception_ptr failure_;
  int arrived_ = 0;
  int generation_ = 0;
  std::map<int, std::pair<int, int>> wishes_;      // of a split: color and key by rank
  std::map<int, std::shared_ptr<Exchange>> made_;  // of a split: by color
  std::vector<std::weak_ptr<Exchange>> children_;  // aborted with their parent
};

class ThreadGroup final : public HostGroup {
 public:
  ThreadGroup(std::shared_ptr<Exchange> shared, int rank)
      : shared_(std::move(shared)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return shared_->size(); }
  void host_barrier() override { shared_->barrier(rank_); }
  std::unique_ptr<ProcessGroup> split(int color, int key) override {
    auto [group, rank] = shared_->split(rank_, color, key);
    if (group == nullptr) return nullptr;
    return std::make_unique<ThreadGroup>(std::move(group), rank);
  }
  void abort(const std::exception_ptr& why) override { shared_->abort(why); }

 protected:
  void move(std::span<const PeerTransfer> transfers, const char* what) override {
    if (!transfers.empty()) shared_->transfer(rank_, transfers, what);
  }

 private:
  std::shared_ptr<Exchange> shared_;
  int rank_;
};

}  // namespace

void run_ranks_as_threads(int ranks,
                          const std::function<void(std::unique_ptr<ProcessGroup>)>& body) {
  const auto shared = std::make_shared<Exchange>(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      set_thread_rank(rank);
      try {
        body(std::make_unique<ThreadGroup>(shared, rank));
      } catch (...) {
        shared->abort(std::current_exception());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  if (const auto failure = shared->failure()) std::rethrow_exception(failure);
}

}  // namespace frugal
