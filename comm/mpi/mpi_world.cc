// Ranks as processes of an MPI job. Open MPI 4.1 is fail-stop: a rank that dies takes the job with
// it.
#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "comm/host_group.h"
#include "comm/lone_world.h"
#include "comm/world.h"

namespace frugal {
namespace {

// A message is cut into pieces of at most this size. Each that arrives shows the waiting rank that
// its peer is there, and counts fit MPI's int.
constexpr std::size_t kLargestMessage = std::size_t{1} << 20;
// So many polls only yield: an answer that is near is found at once. Later ones sleep, longer and
// longer, so that a rank that waits for a slow peer leaves it the core.
constexpr int kQuickPolls = 200;
constexpr auto kFirstSleep = std::chrono::microseconds(10);
constexpr auto kLongestSleep = std::chrono::microseconds(500);

// MPI may write into the buffers of requests in flight at any time, so an error must not unwind the
// stack that owns them.
void end_job(MPI_Comm*, int* code, ...) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(*code, text, &length);
  std::fprintf(stderr, "frugal: rank %d: MPI: %.*s\n", thread_rank(), length, text);
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ErrorKind::kCommunication));
}

// Of the ranks of `host`, how many have this rank's affinity mask.
int count_ranks_on_cores(MPI_Comm host, int ranks) {
  cpu_set_t own;
  CPU_ZERO(&own);
  sched_getaffinity(0, sizeof(own), &own);
  std::vector<cpu_set_t> all(static_cast<std::size_t>(ranks));
  MPI_Allgather(&own, sizeof(own), MPI_BYTE, all.data(), sizeof(own), MPI_BYTE, host);
  return static_cast<int>(
      std::ranges::count_if(all, [&](const cpu_set_t& mask) { return CPU_EQUAL(&mask, &own); }));
}

class MpiGroup final : public HostGroup {
 public:
  explicit MpiGroup(MPI_Comm comm) : comm_(comm) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiGroup() override { MPI_Comm_free(&comm_); }
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void host_barrier() override {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ibarrier(comm_, &request);
    wait({&request, 1});
  }
  std::unique_ptr<ProcessGroup> split(int color, int key) override {
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Comm_split(comm_, color < 0 ? MPI_UNDEFINED : color, key, &comm);
    if (comm == MPI_COMM_NULL) return nullptr;
    return std::make_unique<MpiGroup>(comm);
  }

 protected:
  void move(std::span<const PeerTransfer> transfers, const char*) override {
    std::vector<MPI_Request> requests;
    for (const PeerTransfer& t : transfers) {
      std::byte* data = t.tensor.data;
      const std::size_t all = t.tensor.bytes();
      std::size_t at = 0;
      do {
        const auto bytes = static_cast<int>(std::min(all - at, kLargestMessage));
        MPI_Request& request = requests.emplace_back(MPI_REQUEST_NULL);
        if (t.kind == PeerTransfer::Kind::kSend) {
          MPI_Isend(data + at, bytes, MPI_BYTE, t.peer, 0, comm_, &request);
        } else {
          MPI_Irecv(data + at, bytes, MPI_BYTE, t.peer, 0, comm_, &request);
        }
        at += static_cast<std::size_t>(bytes);
      } while (at < all);
    }
    wait(requests);
  }

 private:
  // Polls: a blocking MPI call would burn the core that the peer may need.
  static void wait(std::span<MPI_Request> requests) {
    std::vector<int> finished(requests.size());
    auto left = static_cast<int>(requests.size());
    int polls = 0;
    auto sleep = kFirstSleep;
    while (true) {
      int some = 0;
      MPI_Testsome(static_cast<int>(requests.size()), requests.data(), &some, finished.data(),
                   MPI_STATUSES_IGNORE);
      if (some == MPI_UNDEFINED || (left -= some) == 0) return;
      if (some > 0) {
        polls = 0;
        sleep = kFirstSleep;
      }
      if (polls < kQuickPolls) {
        ++polls;
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(sleep);
        sleep = std::min(2 * sleep, kLongestSleep);
      }
    }
  }

  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
};

class MpiWorld final : public World {
 public:
  MpiWorld(int* argc, char*** argv) {
    int provided = MPI_THREAD_SINGLE;
    MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided);
    if (provided < MPI_THREAD_MULTIPLE) {
      fail(ErrorKind::kPreflight,
           "this MPI library has no MPI_THREAD_MULTIPLE: use Open MPI 4.1 as packaged by Debian");
    }
    MPI_Errhandler handler = MPI_ERRHANDLER_NULL;
    MPI_Comm_create_errhandler(end_job, &handler);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, handler);  // all other communicators inherit it
    MPI_Errhandler_free(&handler);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm host = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &local_rank_);
    MPI_Comm_size(host, &local_size_);
    ranks_on_cores_ = count_ranks_on_cores(host, local_size_);
    MPI_Comm_free(&host);
  }
  ~MpiWorld() override { MPI_Finalize(); }
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  std::unique_ptr<ProcessGroup> group() override {
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    return std::make_unique<MpiGroup>(comm);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  int ranks_on_cores() const override { return ranks_on_cores_; }
  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1, ranks_on_cores_ = 1;
};

}  // namespace

std::unique_ptr<World> make_world(int* argc, char*** argv) {
  if (!launched_by_mpi()) return make_lone_world();
  return std::make_unique<MpiWorld>(argc, argv);
}

}  // namespace frugal
