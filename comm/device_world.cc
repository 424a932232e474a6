#include "comm/device_world.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "comm/collective_group.h"
#include "comm/gather_lines.h"
#include "comm/staged_group.h"
#include "kernels/core/arena.h"
#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

void require_one_kind(ProcessGroup& host, Device device) {
  const std::vector<std::string> kinds = gather_lines(host, on_host(device) ? "the CPU" : "a GPU");
  for (std::size_t rank = 1; rank < kinds.size(); ++rank) {
    if (kinds[rank] == kinds[0]) continue;
    fail(ErrorKind::kPreflight, "rank 0 computes on ", kinds[0], " and rank ", rank, " on ",
         kinds[rank], ": give every host GPUs, or set device: cpu");
  }
}

// "" when every rank has a GPU of its own, as far as ranks can tell: NCCL compares what they are.
std::string sharing(ProcessGroup& host, Device device) {
  std::array<char, 128> name{};
  gethostname(name.data(), name.size() - 1);
  std::vector<std::string> places =
      gather_lines(host, concat(name.data(), " ", getpid(), " ", static_cast<int>(device.index)));
  std::ranges::sort(places);
  return std::ranges::adjacent_find(places) == places.end() ? "" : "ranks share a GPU";
}

std::int32_t pattern(int from, int to, std::int64_t i) {
  return static_cast<std::int32_t>(i * 65599 + from * 257 + to);
}

// Every rank sends every other one a block. "" when the blocks arrived; the same on every rank.
std::string test_transport(ProcessGroup& host, ProcessGroup& group, Device device) {
  constexpr std::int64_t kCount = 16 << 10;
  const int ranks = group.size();
  const Shape shape{ranks, kCount};
  Arena there(device, 2 * Tensor{nullptr, shape, DType::kI32, device}.bytes());
  const Tensor sent = there.allocate("sent", shape, DType::kI32);
  const Tensor received = there.allocate("received", shape, DType::kI32);
  std::vector<std::int32_t> values(static_cast<std::size_t>(shape.numel()));
  const Tensor here{reinterpret_cast<std::byte*>(values.data()), shape, DType::kI32, {}};
  const auto at = [&](int peer, std::int64_t i) -> std::int32_t& {
    return values[static_cast<std::size_t>(peer * kCount + i)];
  };
  for (int peer = 0; peer < ranks; ++peer) {
    for (std::int64_t i = 0; i < kCount; ++i) at(peer, i) = pattern(group.rank(), peer, i);
  }
  std::string own;
  try {
    const auto stream = make_stream(device, "test");
    const std::vector<std::int64_t> rows(static_cast<std::size_t>(ranks), 1);
    ops::copy(*stream, sent, here);
    group.all_to_all(sent, received, rows, rows, *stream);
    ops::copy(*stream, here, received);
    stream->synchronize();
    for (int peer = 0; peer < ranks && own.empty(); ++peer) {
      for (std::int64_t i = 0; i < kCount && own.empty(); ++i) {
        if (at(peer, i) != pattern(peer, group.rank(), i)) {
          own = concat("wrong bytes arrived from rank ", peer);
        }
      }
    }
  } catch (const Error& error) {
    own = error.what();
  }
  return first_complaint(host, own);
}

}  // namespace

DeviceWorld make_device_world(std::unique_ptr<ProcessGroup> own_host, Device device,
                              const NcclOptions& nccl) {
  if (own_host->size() == 1) return {std::move(own_host), ""};
  require_one_kind(*own_host, device);
  if (on_host(device)) return {std::move(own_host), ""};
  const std::shared_ptr<ProcessGroup> host = std::move(own_host);
  std::string reason = sharing(*host, device);
  if (reason.empty()) {
    auto group = make_nccl_group(host, device, nccl, reason);
    if (group != nullptr) reason = test_transport(*host, *group, device);
    if (reason.empty()) return {std::move(group), "GPUs exchange data over NCCL"};
  }
  auto group = make_staged_group(host, device);
  const std::string fault = test_transport(*host, *group, device);
  if (!fault.empty()) fail(ErrorKind::kCommunication, "data does not pass between ranks: ", fault);
  return {std::move(group), concat("GPUs exchange data through host memory: ", reason)};
}

GroupMemory group_memory(Device device, int ranks) {
  if (ranks == 1) return {};
  return {.device = reduction_bytes(device, ranks), .host = on_host(device) ? 0 : staging_bytes()};
}

}  // namespace frugal
