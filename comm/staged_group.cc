#include "comm/staged_group.h"

#include <array>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "comm/collective_group.h"
#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

// Of one direction of one slot. Large enough that a copy over PCIe is not its start alone.
constexpr std::size_t kSlotBytes = std::size_t{1} << 20U;
constexpr std::size_t kSlots = 2;  // one travels while the other is filled or emptied

// What travels at once: at most one piece to and one from every peer.
using Round = std::vector<PeerTransfer>;

// Pieces of all transfers. Both sides of a transfer cut it alike, and put its pieces into rounds of
// the same place in one order that all ranks share: the how-many-eth transfer between the two it
// is, then the piece. So rounds that wait for each other's end cannot wait in a circle.
std::vector<Round> rounds_of(const std::vector<PeerTransfer>& transfers, std::int64_t piece) {
  std::map<std::pair<int, std::int64_t>, Round> rounds;
  std::map<std::pair<PeerTransfer::Kind, int>, int> seen;
  for (const PeerTransfer& t : transfers) {
    const int nth = seen[{t.kind, t.peer}]++;
    const auto bytes = static_cast<std::int64_t>(t.tensor.bytes());
    const Tensor whole{t.tensor.data, {bytes}, DType::kU8, t.tensor.device};
    for (std::int64_t begin = 0; begin < bytes; begin += piece) {
      const Tensor part = whole.slice(begin, std::min(begin + piece, bytes));
      rounds[{nth, begin}].push_back({t.kind, part, t.peer});
    }
  }
  std::vector<Round> out;
  for (auto& [place, round] : rounds) out.push_back(std::move(round));
  return out;
}

// The two rings and the streams that work on them.
class Rings {
 public:
  Rings(ProcessGroup& host, Device device)
      : host_(host),
        memory_(Arena::host_side(device, staging_bytes())),
        to_host_(make_stream(device, "to host")),
        to_device_(make_stream(device, "to device")),
        wire_(make_stream({}, "wire", StreamMode::kThreaded)) {
    for (Slot& slot : slots_) {
      slot.sent = memory_.allocate("sent", {kSlotBytes}, DType::kU8);
      slot.received = memory_.allocate("received", {kSlotBytes}, DType::kU8);
    }
  }

  void transfer(const std::vector<PeerTransfer>& transfers, const char* what, Stream& stream) {
    Event ready;
    stream.record(ready);
    to_host_->wait(ready);  // so does the wire, and so what arrives: it may have been in use
    const auto piece =
        static_cast<std::int64_t>(kSlotBytes / static_cast<std::size_t>(host_.size() - 1));
    const auto rounds = rounds_of(transfers, piece / std::int64_t{kAlignment} * kAlignment);
    // A device's stream that waits for the wire holds up its caller, so the next round is on its
    // way before that.
    for (std::size_t i = 0; i <= rounds.size(); ++i) {
      if (i < rounds.size()) send(rounds[i], slots_[i % kSlots], what);
      if (i > 0) receive(slots_[(i - 1) % kSlots]);
    }
    Event done;
    to_device_->record(done);
    stream.wait(done);
  }

 private:
  struct Slot {
    Tensor sent, received;
    std::vector<std::pair<Tensor, Tensor>> arriving;  // of the round under way: device, host
    Event travelled, emptied;
  };

  // From the device into the slot, and out of it over the wire.
  void send(const Round& round, Slot& slot, const char* what) {
    to_host_->wait(slot.travelled);
    Round staged;
    std::int64_t sent = 0, received = 0;
    slot.arriving.clear();
    for (const PeerTransfer& t : round) {
      const bool out = t.kind == PeerTransfer::Kind::kSend;
      std::int64_t& at = out ? sent : received;
      const Tensor here = (out ? slot.sent : slot.received).slice(at, at + t.tensor.numel());
      at += static_cast<std::int64_t>(aligned(here.bytes()));
      staged.push_back({t.kind, here, t.peer});
      if (out) {
        ops::copy(*to_host_, here, t.tensor);
      } else {
        slot.arriving.emplace_back(t.tensor, here);
      }
    }
    Event filled;
    to_host_->record(filled);
    wire_->wait(filled);
    wire_->wait(slot.emptied);
    wire_->run_host([this, staged = std::move(staged), what] { travel(staged, what); });
    wire_->record(slot.travelled);
  }

  void receive(Slot& slot) {
    to_device_->wait(slot.travelled);
    for (const auto& [device, host] : slot.arriving) ops::copy(*to_device_, device, host);
    to_device_->record(slot.emptied);
  }

  void travel(const Round& staged, const char* what) {
    try {
      host_.exchange(staged, *make_stream({}, "wire"));
    } catch (const Error& error) {
      fail(error.kind(), what, ": ", error.what());
    }
  }

  ProcessGroup& host_;
  Arena memory_;
  std::array<Slot, kSlots> slots_;
  std::unique_ptr<Stream> to_host_, to_device_, wire_;  // the wire ends first
};

class StagedGroup final : public CollectiveGroup {
 public:
  StagedGroup(std::shared_ptr<ProcessGroup> host, Device device)
      : host_(std::move(host)), device_(device) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  void host_barrier() override { host_->host_barrier(); }
  std::unique_ptr<ProcessGroup> split(int color, int key) override {
    auto host = host_->split(color, key);
    return host == nullptr ? nullptr : make_staged_group(std::move(host), device_);
  }
  void abort(const std::exception_ptr& why) override { host_->abort(why); }

 protected:
  void require(Device device, const char* what) const override {
    FRUGAL_CHECK(on_host(device) || device == device_, what, " of another device's tensor");
  }
  void transfer(const std::vector<PeerTransfer>& transfers, const char* what,
                Stream& stream) override {
    if (on_host(stream.device())) return host_->exchange(transfers, stream);
    if (!rings_) rings_.emplace(*host_, device_);
    rings_->transfer(transfers, what, stream);
  }

 private:
  std::shared_ptr<ProcessGroup> host_;
  Device device_;
  std::optional<Rings> rings_;
};

}  // namespace

std::unique_ptr<ProcessGroup> make_staged_group(std::shared_ptr<ProcessGroup> host, Device device) {
  return std::make_unique<StagedGroup>(std::move(host), device);
}

std::size_t staging_bytes() {
  return 2 * kSlots * kSlotBytes;
}

}  // namespace frugal
