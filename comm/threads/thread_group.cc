// Ranks as threads of one process.
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "comm/collective_group.h"
#include "comm/world.h"

namespace frugal {
namespace {

// A receive that waits for its bytes, or a send whose bytes wait to be taken.
struct Posted {
  std::byte* data;
  std::size_t bytes;
  bool done = false;
};

// What the members of one group share. Lives as long as the last member.
class Exchange {
 public:
  explicit Exchange(int size) : size_(size) {}
  int size() const { return size_; }

  void transfer(int rank, std::span<const ByteTransfer> transfers, const char* what) {
    std::vector<Posted> posted;
    posted.reserve(transfers.size());
    std::unique_lock lock(mutex_);
    for (const ByteTransfer& t : transfers) {
      posted.push_back({t.data, t.bytes});
      const bool send = t.kind == ByteTransfer::Kind::kSend;
      auto& sends = waiting_[{send ? rank : t.peer, send ? t.peer : rank}].sends;
      auto& receives = waiting_[{send ? rank : t.peer, send ? t.peer : rank}].receives;
      (send ? sends : receives).push_back(&posted.back());
      while (!sends.empty() && !receives.empty()) {
        match(*sends.front(), *receives.front(), what);
        sends.erase(sends.begin());
        receives.erase(receives.begin());
      }
    }
    changed_.notify_all();
    changed_.wait(lock, [&] {
      if (aborted_) return true;
      for (const Posted& p : posted) {
        if (!p.done) return false;
      }
      return true;
    });
    check(what);
  }

  void barrier() {
    std::unique_lock lock(mutex_);
    const int generation = generation_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++generation_;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return aborted_ || generation_ != generation; });
    check("barrier");
  }

  // Every member brings a color and a key; the last one makes the new groups.
  std::pair<std::shared_ptr<Exchange>, int> split(int rank, int color, int key) {
    {
      const std::lock_guard lock(mutex_);
      wishes_[rank] = {color, key};
    }
    barrier();
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
    barrier();
    {
      const std::lock_guard lock(mutex_);
      wishes_.clear();
      made_.clear();
    }
    barrier();
    return {result, new_rank};
  }

  void abort() {
    std::vector<std::weak_ptr<Exchange>> children;
    {
      const std::lock_guard lock(mutex_);
      aborted_ = true;
      children = children_;
    }
    changed_.notify_all();
    for (const auto& child : children) {
      if (const auto alive = child.lock()) alive->abort();
    }
  }

 private:
  struct Waiting {
    std::vector<Posted*> sends, receives;
  };

  static void match(Posted& send, Posted& receive, const char* what) {
    FRUGAL_CHECK(send.bytes == receive.bytes, what, ": a send of ", send.bytes,
                 " bytes meets a receive of ", receive.bytes);
    if (send.bytes > 0) std::memcpy(receive.data, send.data, send.bytes);
    send.done = receive.done = true;
  }

  void check(const char* what) const {
    if (aborted_) fail(ErrorKind::kCommunication, what, ": another rank has failed");
  }

  int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<int, int>, Waiting> waiting_;  // by sender and receiver
  bool aborted_ = false;
  int arrived_ = 0;
  int generation_ = 0;
  std::map<int, std::pair<int, int>> wishes_;      // of a split: color and key by rank
  std::map<int, std::shared_ptr<Exchange>> made_;  // of a split: by color
  std::vector<std::weak_ptr<Exchange>> children_;  // aborted with their parent
};

class ThreadGroup final : public CollectiveGroup {
 public:
  ThreadGroup(std::shared_ptr<Exchange> shared, int rank)
      : shared_(std::move(shared)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return shared_->size(); }
  void host_barrier() override { shared_->barrier(); }
  std::unique_ptr<ProcessGroup> split(int color, int key) override {
    auto [group, rank] = shared_->split(rank_, color, key);
    if (group == nullptr) return nullptr;
    return std::make_unique<ThreadGroup>(std::move(group), rank);
  }
  void abort() override { shared_->abort(); }

 protected:
  void transfer(std::span<const ByteTransfer> transfers, const char* what) override {
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
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      set_thread_rank(rank);
      try {
        body(std::make_unique<ThreadGroup>(shared, rank));
      } catch (...) {
        {
          const std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
        }
        shared->abort();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace frugal
