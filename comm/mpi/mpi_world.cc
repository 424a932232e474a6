// Ranks as processes of an MPI job. Open MPI 4.1 is fail-stop: a rank that dies takes the job with
// it.
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <memory>
#include <thread>

#include "comm/collective_group.h"
#include "comm/lone_world.h"
#include "comm/world.h"

namespace frugal {
namespace {

// One message carries at most this much, so that counts fit MPI's int.
constexpr std::size_t kLargestMessage = std::size_t{1} << 30;
// Polls without sleeping this often before each sleep: short waits stay short, long ones leave the
// core to others.
constexpr int kPollsBeforeSleep = 200;

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail(ErrorKind::kCommunication, what, ": ", std::string(text, static_cast<std::size_t>(length)));
}

class MpiGroup final : public CollectiveGroup {
 public:
  explicit MpiGroup(MPI_Comm comm)
      : comm_(comm), aborted_(std::make_shared<std::atomic<bool>>(false)) {
    check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "communicator");
    check(MPI_Comm_rank(comm_, &rank_), "communicator");
    check(MPI_Comm_size(comm_, &size_), "communicator");
  }
  ~MpiGroup() override { MPI_Comm_free(&comm_); }
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void host_barrier() override {
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Ibarrier(comm_, &request), "barrier");
    wait({&request, 1}, "barrier");
  }
  std::unique_ptr<ProcessGroup> split(int color, int key) override {
    MPI_Comm comm = MPI_COMM_NULL;
    check(MPI_Comm_split(comm_, color < 0 ? MPI_UNDEFINED : color, key, &comm), "split");
    if (comm == MPI_COMM_NULL) return nullptr;
    return std::make_unique<MpiGroup>(comm);
  }
  void abort() override { *aborted_ = true; }

 protected:
  void transfer(std::span<const ByteTransfer> transfers, const char* what) override {
    std::vector<MPI_Request> requests;
    for (const ByteTransfer& t : transfers) {
      std::size_t at = 0;
      do {
        const auto bytes = static_cast<int>(std::min(t.bytes - at, kLargestMessage));
        MPI_Request& request = requests.emplace_back(MPI_REQUEST_NULL);
        if (t.kind == ByteTransfer::Kind::kSend) {
          check(MPI_Isend(t.data + at, bytes, MPI_BYTE, t.peer, 0, comm_, &request), what);
        } else {
          check(MPI_Irecv(t.data + at, bytes, MPI_BYTE, t.peer, 0, comm_, &request), what);
        }
        at += static_cast<std::size_t>(bytes);
      } while (at < t.bytes);
    }
    wait(requests, what);
  }

 private:
  // Polls: a blocking MPI call would burn the core that the peer may need.
  void wait(std::span<MPI_Request> requests, const char* what) {
    int done = 0;
    for (int polls = 0; done == 0; ++polls) {
      check(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done,
                        MPI_STATUSES_IGNORE),
            what);
      if (done != 0) return;
      if (*aborted_) fail(ErrorKind::kCommunication, what, ": another rank has failed");
      if (polls % kPollsBeforeSleep == kPollsBeforeSleep - 1) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      } else {
        std::this_thread::yield();
      }
    }
  }

  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
  std::shared_ptr<std::atomic<bool>> aborted_;
};

class MpiWorld final : public World {
 public:
  MpiWorld(int* argc, char*** argv) {
    int provided = MPI_THREAD_SINGLE;
    check(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
    if (provided < MPI_THREAD_MULTIPLE) {
      fail(ErrorKind::kPreflight,
           "this MPI library has no MPI_THREAD_MULTIPLE: use Open MPI 4.1 as packaged by Debian");
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm host = MPI_COMM_NULL;
    check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host),
          "split by host");
    MPI_Comm_rank(host, &local_rank_);
    MPI_Comm_size(host, &local_size_);
    MPI_Comm_free(&host);
  }
  ~MpiWorld() override { MPI_Finalize(); }
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  std::unique_ptr<ProcessGroup> group() override {
    MPI_Comm comm = MPI_COMM_NULL;
    check(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
    return std::make_unique<MpiGroup>(comm);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
};

}  // namespace

std::unique_ptr<World> make_world(int* argc, char*** argv) {
  if (!launched_by_mpi()) return make_lone_world();
  return std::make_unique<MpiWorld>(argc, argv);
}

}  // namespace frugal
