#include "tests/comm/fake_nccl.h"

#include <nccl.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/core/stream.h"

using frugal::Stream;
using frugal::test::FakeNcclFaults;

namespace {

FakeNcclFaults faults;

// One half of a send and receive whose stream has come to it.
struct Half {
  void* data;
  std::size_t bytes;
  bool done = false;
};

// What the ranks of one id share.
struct Team {
  std::mutex mutex;
  std::condition_variable changed;
  int size = 0, joined = 0;
  std::map<std::pair<int, int>, std::deque<Half*>> sends;  // by sender and receiver
};

struct Member {
  std::shared_ptr<Team> team;
  int rank;
  bool aborted = false;
};

struct Operation {
  bool send;
  Half half;
  int peer;
};

struct Group {
  std::vector<Operation> operations;
  Stream* stream = nullptr;
};

std::mutex teams_mutex;
std::map<std::string, std::shared_ptr<Team>> teams;
int ids = 0;

thread_local Group group;  // between start and end
thread_local ncclComm* group_comm = nullptr;

}  // namespace

struct ncclComm {
  std::shared_ptr<Member> member;
  std::mutex mutex;
  ncclResult_t state = ncclSuccess;
  int polls = 0;  // since the state became "in progress"
  int groups = 0;
  Group pending;
};

namespace {

// On the stream's thread: as a kernel that waits for its peers, until it is aborted.
void move_bytes(Member& member, std::vector<Operation>& operations) {
  Team& team = *member.team;
  std::unique_lock lock(team.mutex);
  for (Operation& o : operations) {
    if (o.send) team.sends[{member.rank, o.peer}].push_back(&o.half);
  }
  team.changed.notify_all();
  for (Operation& o : operations) {
    if (o.send) continue;
    auto& queue = team.sends[{o.peer, member.rank}];
    team.changed.wait(lock, [&] { return member.aborted || !queue.empty(); });
    if (member.aborted) break;
    Half* from = queue.front();
    queue.pop_front();
    std::memcpy(o.half.data, from->data, std::min(from->bytes, o.half.bytes));
    if (faults.corrupting_rank == member.rank) static_cast<char*>(o.half.data)[0] ^= 1;
    from->done = true;
    team.changed.notify_all();
  }
  const auto sent = [&] {
    return std::ranges::all_of(operations,
                               [](const Operation& o) { return !o.send || o.half.done; });
  };
  team.changed.wait(lock, [&] { return member.aborted || sent(); });
  for (Operation& o : operations) {
    if (o.send) std::erase(team.sends[{member.rank, o.peer}], &o.half);
  }
}

// The second poll enqueues what the group's end began.
void poll(ncclComm& comm) {
  if (comm.state == ncclSuccess && comm.groups > 0 && faults.cut_off_rank == comm.member->rank) {
    comm.state = ncclRemoteError;
  }
  if (comm.state != ncclInProgress || ++comm.polls < 2) return;
  Team& team = *comm.member->team;
  {
    const std::lock_guard lock(team.mutex);
    if (team.joined < team.size) return;
  }
  if (!comm.pending.operations.empty()) {
    auto operations = std::make_shared<std::vector<Operation>>(std::move(comm.pending.operations));
    comm.pending.operations.clear();
    comm.pending.stream->run_host(
        [member = comm.member, operations] { move_bytes(*member, *operations); });
  }
  const bool fails = faults.failing_rank == comm.member->rank && comm.groups >= 3;
  comm.state = fails ? ncclSystemError : ncclSuccess;
}

ncclResult_t add(bool send, void* data, std::size_t bytes, int peer, ncclComm_t comm,
                 cudaStream_t stream) {
  if (peer < 0 || peer >= comm->member->team->size) return ncclInvalidArgument;
  group.operations.push_back({send, {data, bytes}, peer});
  group.stream = reinterpret_cast<Stream*>(stream);
  group_comm = comm;
  return ncclSuccess;
}

void remove(ncclComm_t comm) {
  --faults.communicators;
  delete comm;
}

}  // namespace

extern "C" {

FakeNcclFaults* fake_nccl_faults() {
  return &faults;
}

ncclResult_t ncclGetVersion(int* version) {
  static std::atomic<int> asked = 0;
  *version = 22809 + faults.version_step * asked++;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const std::lock_guard lock(teams_mutex);
  std::memset(id->internal, 0, sizeof(id->internal));
  const std::string name = std::to_string(++ids);
  std::memcpy(id->internal, name.c_str(), name.size());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (config->blocking != 0) return ncclInvalidUsage;
  if (faults.refused_rank == rank) return ncclInvalidUsage;
  auto comm = std::make_unique<ncclComm>();
  {
    const std::lock_guard lock(teams_mutex);
    auto& team = teams[id.internal];
    if (team == nullptr) team = std::make_shared<Team>();
    const std::lock_guard own(team->mutex);
    team->size = size;
    if (++team->joined > size) return ncclInvalidArgument;
    comm->member = std::make_shared<Member>(Member{.team = team, .rank = rank});
  }
  comm->state = ncclInProgress;
  ++faults.communicators;
  *out = comm.release();
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const std::lock_guard lock(comm->mutex);
  poll(*comm);
  *state = comm->state;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  group = {};
  group_comm = nullptr;
  return ncclSuccess;
}

ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  if (type != ncclUint8) return ncclInvalidArgument;
  return add(true, const_cast<void*>(data), count, peer, comm, stream);
}

ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  if (type != ncclUint8) return ncclInvalidArgument;
  return add(false, data, count, peer, comm, stream);
}

ncclResult_t ncclGroupEnd() {
  if (group_comm == nullptr) return ncclSuccess;
  ncclComm& comm = *group_comm;
  const std::lock_guard lock(comm.mutex);
  if (comm.state == ncclInProgress) return ncclInvalidUsage;  // the last call was not polled
  comm.pending = std::move(group);
  comm.state = ncclInProgress;
  comm.polls = 0;
  ++comm.groups;
  return ncclInProgress;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  while (faults.unstoppable_rank == comm->member->rank) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  {
    Team& team = *comm->member->team;
    const std::lock_guard lock(team.mutex);
    comm->member->aborted = true;
    team.changed.notify_all();
  }
  remove(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const std::lock_guard lock(comm->mutex);
  comm->state = ncclInProgress;
  comm->polls = 0;
  return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  remove(comm);
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclSystemError   ? "unhandled system error"
         : result == ncclRemoteError ? "remote process exited or there was a network error"
                                     : "an error";
}

const char* ncclGetLastError(ncclComm_t) {
  return "the fake's words";
}

}  // extern "C"
