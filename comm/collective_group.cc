#include "comm/collective_group.h"

#include <algorithm>
#include <array>
#include <bit>

#include "comm/ordered_reduce.h"
#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

// Up to here an all-reduce goes along the tree of ranks, in few messages; above, reduce-scatter and
// all-gather move less.
constexpr std::size_t kSmallBytes = 4096;

// Reductions take this much of their argument at a time: so much, and no more, do they need beside
// it. On the host it stays in the cache; on a GPU it is worth the start of a transfer.
std::size_t piece_bytes(Device device) {
  return std::size_t{on_host(device) ? 1U : 16U} << 20U;
}

std::int64_t elements_of(std::size_t bytes, DType dtype) {
  return static_cast<std::int64_t>(bytes / size_of(dtype));
}

Tensor flat(const Tensor& t) {
  return t.reshape({t.numel()});
}

// For what is only read: by a send.
Tensor unconst(const ConstTensor& t) {
  return {const_cast<std::byte*>(t.data), t.shape, t.dtype, t.device};
}

// out_N (=) = the rows of parts_RN reduced in row order along the fixed tree. out may be row 0.
void reduce_rows(const Tensor& out_N, const Tensor& parts_RN, ReduceOp op, Stream& stream) {
  if (op == ReduceOp::kMax) {
    ops::max_rows(stream, out_N, parts_RN);
  } else {
    ops::tree_sum(stream, out_N, parts_RN);
  }
}

void convert(const Tensor& out, const Tensor& x, Stream& stream) {
  if (out.dtype == x.dtype) {
    ops::copy(stream, out, x);
  } else {
    ops::cast(stream, out, x);
  }
}

}  // namespace

std::size_t reduction_bytes(Device device, int ranks) {
  constexpr std::size_t kLargestElement = 4;
  return aligned(piece_bytes(device) + static_cast<std::size_t>(ranks) * kLargestElement);
}

void CollectiveGroup::require_here(const ConstTensor& t, const char* what,
                                   const Stream& stream) const {
  require(t.device, what);
  FRUGAL_CHECK(t.device == stream.device(), what, ": a tensor is not on the stream's device");
}

Tensor CollectiveGroup::scratch(Device device, Shape shape, DType dtype) {
  auto found = scratch_.find(device.type);
  if (found == scratch_.end()) {
    const std::size_t bytes = reduction_bytes(device, size());
    Arena arena(device, bytes);
    const Tensor whole = arena.allocate("sums", {static_cast<std::int64_t>(bytes)}, DType::kU8);
    found = scratch_.emplace(device.type, Scratch{std::move(arena), whole}).first;
  }
  const Tensor out{found->second.whole.data, shape, dtype, device};
  FRUGAL_CHECK(out.bytes() <= found->second.whole.bytes(), to_string(shape), " of scratch");
  return out;
}

void CollectiveGroup::gather_parts(std::span<const Tensor> parts, const char* what,
                                   Stream& stream) {
  const Tensor& own = parts[static_cast<std::size_t>(rank())];
  std::vector<PeerTransfer> transfers;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    transfers.push_back({PeerTransfer::Kind::kSend, own, peer});
    transfers.push_back({PeerTransfer::Kind::kRecv, parts[static_cast<std::size_t>(peer)], peer});
  }
  transfer(transfers, what, stream);
}

void CollectiveGroup::reduce_parts(std::span<const Tensor> parts, const Tensor& out, ReduceOp op,
                                   const char* what, Stream& stream) {
  const Tensor rows = scratch(stream.device(), {size(), out.numel()}, out.dtype);
  std::vector<PeerTransfer> transfers;
  for (int peer = 0; peer < size(); ++peer) {
    const Tensor& part = parts[static_cast<std::size_t>(peer)];
    const Tensor row = flat(rows.slice(peer, peer + 1));
    if (peer == rank()) {
      ops::copy(stream, row, part);
      continue;
    }
    transfers.push_back({PeerTransfer::Kind::kSend, part, peer});
    transfers.push_back({PeerTransfer::Kind::kRecv, row, peer});
  }
  transfer(transfers, what, stream);
  if (out.numel() > 0) reduce_rows(out, rows, op, stream);
}

// Round k joins the sums of two runs of 2^k ranks, the lower one always standing first, as in the
// tree. With a power of two of ranks both sides swap their sums and go on, and all end with the
// same bits. Otherwise the upper side is done when it has sent, and rank 0 tells everybody.
void CollectiveGroup::reduce_small(const Tensor& inout, ReduceOp op, Stream& stream) {
  using Kind = PeerTransfer::Kind;
  const bool both_go_on = std::has_single_bit(static_cast<unsigned>(size()));
  // float32 whatever the dtype: only the whole sum is rounded.
  const DType dtype = inout.dtype == DType::kI32 ? DType::kI32 : DType::kF32;
  const Tensor pair = scratch(stream.device(), {2, inout.numel()}, dtype);
  const Tensor lower = flat(pair.slice(0, 1)), upper = flat(pair.slice(1, 2));
  convert(lower, inout, stream);  // also where each round leaves its sum
  for (int step = 1; step < size(); step *= 2) {
    const int peer = rank() ^ step;
    const bool is_upper = (rank() & step) != 0;
    if (is_upper && !both_go_on) {
      transfer({{Kind::kSend, lower, peer}}, "all_reduce", stream);
      break;
    }
    if (peer >= size()) continue;
    if (is_upper) ops::copy(stream, upper, lower);
    std::vector<PeerTransfer> transfers{{Kind::kRecv, is_upper ? lower : upper, peer}};
    if (both_go_on) transfers.push_back({Kind::kSend, is_upper ? upper : lower, peer});
    transfer(transfers, "all_reduce", stream);
    reduce_rows(lower, pair, op, stream);
  }
  if (!both_go_on) send_to_all(lower, 0, "all_reduce", stream);
  convert(inout, lower, stream);
}

void CollectiveGroup::send_to_all(const Tensor& inout, int root, const char* what, Stream& stream) {
  std::vector<PeerTransfer> transfers;
  if (rank() != root) {
    transfers.push_back({PeerTransfer::Kind::kRecv, inout, root});
  } else {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != root) transfers.push_back({PeerTransfer::Kind::kSend, inout, peer});
    }
  }
  transfer(transfers, what, stream);
}

void CollectiveGroup::all_reduce(Tensor inout, ReduceOp op, Stream& stream) {
  if (size() == 1 || inout.numel() == 0) return;
  require_here(inout, "all_reduce", stream);
  const Tensor all = flat(inout);
  if (all.bytes() <= kSmallBytes) return reduce_small(all, op, stream);
  const std::int64_t step = elements_of(piece_bytes(all.device), all.dtype);
  for (std::int64_t begin = 0; begin < all.numel(); begin += step) {
    const Tensor piece = all.slice(begin, std::min(begin + step, all.numel()));
    std::vector<Tensor> parts;
    for (int r = 0; r < size(); ++r) {
      const RowRange part = rows_of_rank(piece.numel(), r, size());
      parts.push_back(piece.slice(part.begin, part.end));
    }
    reduce_parts(parts, parts[static_cast<std::size_t>(rank())], op, "all_reduce", stream);
    gather_parts(parts, "all_reduce", stream);
  }
}

void CollectiveGroup::all_gather(ConstTensor shard, Tensor full, Stream& stream) {
  FRUGAL_CHECK(full.numel() == shard.numel() * size() && full.dtype == shard.dtype,
               "all_gather of ", to_string(shard.shape), " over ", size(), " ranks into ",
               to_string(full.shape));
  if (size() == 1) return ops::copy(stream, flat(full), shard.reshape({shard.numel()}));
  require_here(shard, "all_gather", stream);
  require_here(full, "all_gather", stream);
  const Tensor all = flat(full);
  std::vector<Tensor> parts;
  for (int r = 0; r < size(); ++r)
    parts.push_back(all.slice(r * shard.numel(), (r + 1) * shard.numel()));
  ops::copy(stream, parts[static_cast<std::size_t>(rank())], shard.reshape({shard.numel()}));
  gather_parts(parts, "all_gather", stream);
}

void CollectiveGroup::reduce_scatter(ConstTensor full, Tensor shard, ReduceOp op, Stream& stream) {
  FRUGAL_CHECK(full.numel() == shard.numel() * size() && full.dtype == shard.dtype,
               "reduce_scatter of ", to_string(full.shape), " over ", size(), " ranks into ",
               to_string(shard.shape));
  if (size() == 1) return ops::copy(stream, flat(shard), full.reshape({full.numel()}));
  require_here(full, "reduce_scatter", stream);
  require_here(shard, "reduce_scatter", stream);
  const Tensor all = flat(unconst(full)), own = flat(shard);
  const std::int64_t step =
      std::max<std::int64_t>(1, elements_of(piece_bytes(own.device), own.dtype) / size());
  for (std::int64_t begin = 0; begin < own.numel(); begin += step) {
    const std::int64_t end = std::min(begin + step, own.numel());
    std::vector<Tensor> parts;
    for (int r = 0; r < size(); ++r)
      parts.push_back(all.slice(r * own.numel() + begin, r * own.numel() + end));
    reduce_parts(parts, own.slice(begin, end), op, "reduce_scatter", stream);
  }
}

void CollectiveGroup::all_to_all(ConstTensor send, Tensor recv,
                                 std::span<const std::int64_t> send_rows,
                                 std::span<const std::int64_t> recv_rows, Stream& stream) {
  FRUGAL_CHECK(
      static_cast<int>(send_rows.size()) == size() && static_cast<int>(recv_rows.size()) == size(),
      "all_to_all needs one row count per rank");
  if (size() == 1) {
    return ops::copy(stream, recv.slice(0, recv_rows[0]), send.slice(0, send_rows[0]));
  }
  require_here(send, "all_to_all", stream);
  require_here(recv, "all_to_all", stream);
  const Tensor from = unconst(send);
  std::vector<PeerTransfer> transfers;
  std::int64_t sent = 0, received = 0;
  for (int peer = 0; peer < size(); ++peer) {
    const auto i = static_cast<std::size_t>(peer);
    const Tensor out = from.slice(sent, sent + send_rows[i]);
    const Tensor in = recv.slice(received, received + recv_rows[i]);
    if (peer == rank()) {
      ops::copy(stream, flat(in), flat(out));
    } else {
      transfers.push_back({PeerTransfer::Kind::kSend, out, peer});
      transfers.push_back({PeerTransfer::Kind::kRecv, in, peer});
    }
    sent += send_rows[i];
    received += recv_rows[i];
  }
  transfer(transfers, "all_to_all", stream);
}

void CollectiveGroup::broadcast(Tensor inout, int root, Stream& stream) {
  if (size() == 1) return;
  require_here(inout, "broadcast", stream);
  send_to_all(inout, root, "broadcast", stream);
}

void CollectiveGroup::exchange(std::span<const PeerTransfer> transfers, Stream& stream) {
  for (const PeerTransfer& t : transfers) {
    FRUGAL_CHECK(t.peer != rank(), "exchange with oneself");
    require_here(t.tensor, "exchange", stream);
  }
  if (!transfers.empty()) transfer({transfers.begin(), transfers.end()}, "exchange", stream);
}

}  // namespace frugal
