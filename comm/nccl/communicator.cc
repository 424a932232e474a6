#include "comm/nccl/communicator.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace frugal {
namespace {

constexpr auto kPoll = std::chrono::microseconds(50);
// The end of a communicator whose peers may be gone is not worth more.
constexpr int kFirstCallPatience = 10;  // times the timeout
constexpr auto kFarewell = std::chrono::seconds(2);

bool is_failure(ncclResult_t result) {
  return result != ncclSuccess && result != ncclInProgress;
}

double seconds(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

Communicator::Communicator(const NcclLibrary& nccl, std::shared_ptr<Watchdog> watchdog,
                           ncclUniqueId id, Members members)
    : nccl_(nccl), watchdog_(std::move(watchdog)), members_(std::move(members)) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const auto size = static_cast<int>(members_.world_ranks.size());
  const ncclResult_t result = settle(
      nccl_.CommInitRankConfig(&comm_, size, id, members_.rank, &config), watchdog_->timeout());
  if (result != ncclSuccess) {
    const std::string text = why(result);
    abort();
    fail(ErrorKind::kCommunication, "NCCL does not start: ", text);
  }
  watchdog_->add(this);
}

Communicator::~Communicator() {
  watchdog_->remove(this);
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) return;
  if (!watchdog_->failed() && settle(nccl_.CommFinalize(comm_), kFarewell) == ncclSuccess) {
    nccl_.CommDestroy(comm_);
  } else {
    abort();
  }
}

void Communicator::enqueue(const std::vector<PeerTransfer>& transfers, const char* what,
                           Stream& stream) {
  const std::lock_guard lock(mutex_);
  watchdog_->throw_if_failed();
  ++calls_;
  Call call{.text = name_call(transfers, what), .number = calls_};
  stream.record(call.begun);
  // The first call connects, and waits for peers that may still be starting.
  const int patience = calls_ == 1 ? kFirstCallPatience : 1;
  const ncclResult_t result = settle(start(transfers, stream), patience * watchdog_->timeout());
  if (result != ncclSuccess) {
    watchdog_->fail(concat(call.text, ": ", why(result)));
    watchdog_->throw_if_failed();
  }
  // Whoever ends the communicator has told the watchdog before that.
  stream.run_host([done = call.done, watchdog = watchdog_] {
    watchdog->throw_if_failed();
    *done = true;
  });
  under_way_.push_back(std::move(call));
}

ncclResult_t Communicator::start(const std::vector<PeerTransfer>& transfers, Stream& stream) {
  auto* gpu_stream = static_cast<cudaStream_t>(stream.native_handle());
  ncclResult_t first = nccl_.GroupStart();
  for (const PeerTransfer& t : transfers) {
    if (is_failure(first) || t.tensor.bytes() == 0) continue;
    const bool send = t.kind == PeerTransfer::Kind::kSend;
    first = send
                ? nccl_.Send(t.tensor.data, t.tensor.bytes(), ncclUint8, t.peer, comm_, gpu_stream)
                : nccl_.Recv(t.tensor.data, t.tensor.bytes(), ncclUint8, t.peer, comm_, gpu_stream);
  }
  const ncclResult_t end = nccl_.GroupEnd();
  return is_failure(first) ? first : end;
}

ncclResult_t Communicator::settle(ncclResult_t result, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (result == ncclInProgress && Clock::now() < deadline && !watchdog_->failed()) {
    std::this_thread::sleep_for(kPoll);
    const ncclResult_t asked = nccl_.CommGetAsyncError(comm_, &result);
    if (asked != ncclSuccess) return asked;
  }
  return result;
}

std::string Communicator::why(ncclResult_t result) const {
  if (result == ncclInProgress) {
    return concat("no answer in ", seconds(watchdog_->timeout()),
                  " s (parallelism.communication_timeout)");
  }
  const char* last = comm_ == nullptr ? nullptr : nccl_.GetLastError(comm_);
  const std::string detail = last == nullptr || *last == '\0' ? "" : concat(" (", last, ")");
  return concat(nccl_.GetErrorString(result), detail);
}

std::string Communicator::name_call(const std::vector<PeerTransfer>& transfers,
                                    const char* what) const {
  std::vector<int> peers;
  for (const PeerTransfer& t : transfers) {
    peers.push_back(members_.world_ranks[static_cast<std::size_t>(t.peer)]);
  }
  std::ranges::sort(peers);
  peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
  std::string out = concat(what, " (call ", calls_, " of its group) with rank");
  if (peers.size() > 1) out += "s";
  for (std::size_t i = 0; i < peers.size(); ++i) {
    out += concat(i == 0 ? " " : i + 1 == peers.size() ? " and " : ", ", peers[i]);
  }
  return out;
}

void Communicator::watch() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || comm_ == nullptr) return;  // whoever has it polls
  if (watchdog_->failed()) return abort();
  while (!under_way_.empty() && *under_way_.front().done) under_way_.pop_front();
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = nccl_.CommGetAsyncError(comm_, &state);
  const ncclResult_t result = asked == ncclSuccess ? state : asked;
  if (is_failure(result)) {
    const std::string where = under_way_.empty() ? "between calls" : under_way_.front().text;
    return watchdog_->fail(concat(where, ": NCCL: ", why(result)));
  }
  if (!under_way_.empty()) look_at_oldest();
}

void Communicator::look_at_oldest() {
  Call& oldest = under_way_.front();
  try {
    if (!oldest.begun.done()) return;  // work of this rank comes first
  } catch (const Error& error) {
    return watchdog_->fail(concat(oldest.text, ": ", error.what()));
  }
  const auto now = Clock::now();
  if (!oldest.seen_begun) oldest.seen_begun = now;
  const int patience = oldest.number == 1 ? kFirstCallPatience : 1;
  if (now - *oldest.seen_begun < patience * watchdog_->timeout()) return;
  watchdog_->fail(concat(oldest.text, ": ", why(ncclInProgress)));
}

void Communicator::abort() {
  if (comm_ != nullptr) nccl_.CommAbort(std::exchange(comm_, nullptr));
}

}  // namespace frugal
