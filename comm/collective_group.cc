#include "comm/collective_group.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "comm/ordered_reduce.h"
#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

// Up to here an all-reduce goes along the tree of ranks, in few messages; above, reduce-scatter and
// all-gather move less.
constexpr std::size_t kSmallBytes = 4096;
// Reductions take this much of their argument at a time: so much, and no more, do they need beside
// it, and it stays in the cache.
constexpr std::int64_t kPieceBytes = std::int64_t{1} << 20;

std::size_t row_bytes(const ConstTensor& t) {
  return t.shape[0] == 0 ? 0 : t.bytes() / static_cast<std::size_t>(t.shape[0]);
}

Tensor flat(const Tensor& t) {
  return t.reshape({t.numel()});
}

// What a rank of threads or MPI can send and receive.
void require_host(const ConstTensor& t, const char* what) {
  FRUGAL_CHECK(on_host(t.device), what, ": ranks that are threads or MPI processes exchange ",
               "host memory only, and this tensor lies on a GPU");
}

// out_N (=) = the rows of parts_RN reduced in row order along the fixed tree. out may be row 0.
void reduce_rows(const Tensor& out_N, const Tensor& parts_RN, ReduceOp op) {
  const auto stream = make_stream({}, "reduce");
  if (op == ReduceOp::kMax) {
    ops::max_rows(*stream, out_N, parts_RN);
  } else {
    ops::tree_sum(*stream, out_N, parts_RN);
  }
}

void divide(const Tensor& sum, int ranks) {
  FRUGAL_CHECK(sum.dtype != DType::kI32, "the average of integers is not defined here");
  visit_float(sum.dtype, [&]<class T>() {
    for (std::int64_t i = 0; i < sum.numel(); ++i) {
      sum.as<T>()[i] = T(static_cast<float>(sum.as<T>()[i]) / static_cast<float>(ranks));
    }
  });
}

void convert(const Tensor& out, const Tensor& x) {
  if (out.dtype == DType::kI32) {
    std::memcpy(out.data, x.data, x.bytes());
  } else {
    ops::cast(*make_stream({}, "convert"), out, x);
  }
}

}  // namespace

Tensor CollectiveGroup::scratch(Shape shape, DType dtype) {
  const Tensor out{nullptr, shape, dtype, {}};
  if (out.bytes() > scratch_bytes_) {
    scratch_ = std::make_unique_for_overwrite<std::byte[]>(out.bytes());
    scratch_bytes_ = out.bytes();
  }
  return {scratch_.get(), shape, dtype, {}};
}

void CollectiveGroup::gather_parts(std::span<const Tensor> parts, const char* what) {
  const Tensor& own = parts[static_cast<std::size_t>(rank())];
  std::vector<ByteTransfer> transfers;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    const Tensor& theirs = parts[static_cast<std::size_t>(peer)];
    transfers.push_back({ByteTransfer::Kind::kSend, own.data, own.bytes(), peer});
    transfers.push_back({ByteTransfer::Kind::kRecv, theirs.data, theirs.bytes(), peer});
  }
  transfer(transfers, what);
}

void CollectiveGroup::reduce_parts(std::span<const Tensor> parts, const Tensor& out, ReduceOp op,
                                   const char* what) {
  const Tensor rows = scratch({size(), out.numel()}, out.dtype);
  std::vector<ByteTransfer> transfers;
  for (int peer = 0; peer < size(); ++peer) {
    const Tensor& part = parts[static_cast<std::size_t>(peer)];
    const Tensor row = rows.slice(peer, peer + 1);
    if (peer == rank()) {
      if (row.bytes() > 0) std::memcpy(row.data, part.data, row.bytes());
      continue;
    }
    transfers.push_back({ByteTransfer::Kind::kSend, part.data, part.bytes(), peer});
    transfers.push_back({ByteTransfer::Kind::kRecv, row.data, row.bytes(), peer});
  }
  transfer(transfers, what);
  if (out.numel() == 0) return;
  reduce_rows(out, rows, op);
  if (op == ReduceOp::kAvg) divide(out, size());
}

// Round k joins the sums of two runs of 2^k ranks, the lower one always standing first, as in the
// tree. With a power of two of ranks both sides swap their sums and go on, and all end with the
// same bits. Otherwise the upper side is done when it has sent, and rank 0 tells everybody.
void CollectiveGroup::reduce_small(const Tensor& inout, ReduceOp op) {
  using Kind = ByteTransfer::Kind;
  const bool both_go_on = std::has_single_bit(static_cast<unsigned>(size()));
  // float32 whatever the dtype: only the whole sum is rounded.
  const DType dtype = inout.dtype == DType::kI32 ? DType::kI32 : DType::kF32;
  const Tensor pair = scratch({2, inout.numel()}, dtype);
  const Tensor lower = flat(pair.slice(0, 1)), upper = flat(pair.slice(1, 2));
  const std::size_t bytes = lower.bytes();
  convert(lower, inout);  // also where each round leaves its sum
  for (int step = 1; step < size(); step *= 2) {
    const int peer = rank() ^ step;
    const bool is_upper = (rank() & step) != 0;
    if (is_upper && !both_go_on) {
      transfer(std::array{ByteTransfer{Kind::kSend, lower.data, bytes, peer}}, "all_reduce");
      break;
    }
    if (peer >= size()) continue;
    if (is_upper) std::memcpy(upper.data, lower.data, bytes);
    std::vector<ByteTransfer> transfers{
        {Kind::kRecv, is_upper ? lower.data : upper.data, bytes, peer}};
    if (both_go_on) {
      transfers.push_back({Kind::kSend, is_upper ? upper.data : lower.data, bytes, peer});
    }
    transfer(transfers, "all_reduce");
    reduce_rows(lower, pair, op);
  }
  if (!both_go_on) send_to_all(lower, 0, "all_reduce");
  convert(inout, lower);
  if (op == ReduceOp::kAvg) divide(inout, size());
}

void CollectiveGroup::send_to_all(const Tensor& inout, int root, const char* what) {
  std::vector<ByteTransfer> transfers;
  if (rank() != root) {
    transfers.push_back({ByteTransfer::Kind::kRecv, inout.data, inout.bytes(), root});
  } else {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != root)
        transfers.push_back({ByteTransfer::Kind::kSend, inout.data, inout.bytes(), peer});
    }
  }
  transfer(transfers, what);
}

void CollectiveGroup::all_reduce(Tensor inout, ReduceOp op, Stream& stream) {
  if (size() == 1 || inout.numel() == 0) return;
  require_host(inout, "all_reduce");
  stream.run_host([=, this, all = flat(inout)] {
    if (all.bytes() <= kSmallBytes) return reduce_small(all, op);
    const std::int64_t step = kPieceBytes / static_cast<std::int64_t>(size_of(all.dtype));
    for (std::int64_t begin = 0; begin < all.numel(); begin += step) {
      const Tensor piece = all.slice(begin, std::min(begin + step, all.numel()));
      std::vector<Tensor> parts;
      for (int r = 0; r < size(); ++r) {
        const RowRange part = rows_of_rank(piece.numel(), r, size());
        parts.push_back(piece.slice(part.begin, part.end));
      }
      reduce_parts(parts, parts[static_cast<std::size_t>(rank())], op, "all_reduce");
      gather_parts(parts, "all_reduce");
    }
  });
}

void CollectiveGroup::all_gather(ConstTensor shard, Tensor full, Stream& stream) {
  FRUGAL_CHECK(full.numel() == shard.numel() * size() && full.dtype == shard.dtype,
               "all_gather of ", to_string(shard.shape), " over ", size(), " ranks into ",
               to_string(full.shape));
  if (size() == 1) return ops::copy(stream, flat(full), shard.reshape({shard.numel()}));
  require_host(shard, "all_gather");
  require_host(full, "all_gather");
  stream.run_host([=, this, all = flat(full)] {
    std::vector<Tensor> parts;
    for (int r = 0; r < size(); ++r)
      parts.push_back(all.slice(r * shard.numel(), (r + 1) * shard.numel()));
    std::byte* own = parts[static_cast<std::size_t>(rank())].data;
    if (shard.bytes() > 0 && own != shard.data) std::memmove(own, shard.data, shard.bytes());
    gather_parts(parts, "all_gather");
  });
}

void CollectiveGroup::reduce_scatter(ConstTensor full, Tensor shard, ReduceOp op, Stream& stream) {
  FRUGAL_CHECK(full.numel() == shard.numel() * size() && full.dtype == shard.dtype,
               "reduce_scatter of ", to_string(full.shape), " over ", size(), " ranks into ",
               to_string(shard.shape));
  if (size() == 1) return ops::copy(stream, flat(shard), full.reshape({full.numel()}));
  require_host(full, "reduce_scatter");
  require_host(shard, "reduce_scatter");
  // Parts are only read by sends.
  const Tensor all{const_cast<std::byte*>(full.data), {full.numel()}, full.dtype, full.device};
  stream.run_host([=, this, own = flat(shard)] {
    const std::int64_t step = std::max<std::int64_t>(
        1, kPieceBytes / static_cast<std::int64_t>(size_of(own.dtype)) / size());
    for (std::int64_t begin = 0; begin < own.numel(); begin += step) {
      const std::int64_t end = std::min(begin + step, own.numel());
      std::vector<Tensor> parts;
      for (int r = 0; r < size(); ++r)
        parts.push_back(all.slice(r * own.numel() + begin, r * own.numel() + end));
      reduce_parts(parts, own.slice(begin, end), op, "reduce_scatter");
    }
  });
}

void CollectiveGroup::all_to_all(ConstTensor send, Tensor recv,
                                 std::span<const std::int64_t> send_rows,
                                 std::span<const std::int64_t> recv_rows, Stream& stream) {
  const std::vector<std::int64_t> out_rows(send_rows.begin(), send_rows.end());
  const std::vector<std::int64_t> in_rows(recv_rows.begin(), recv_rows.end());
  FRUGAL_CHECK(
      static_cast<int>(out_rows.size()) == size() && static_cast<int>(in_rows.size()) == size(),
      "all_to_all needs one row count per rank");
  if (size() == 1) return ops::copy(stream, recv.slice(0, in_rows[0]), send.slice(0, out_rows[0]));
  require_host(send, "all_to_all");
  require_host(recv, "all_to_all");
  stream.run_host([=, this] {
    const std::size_t row = std::max(row_bytes(send), row_bytes(recv));
    auto* from = const_cast<std::byte*>(send.data);  // only read by a send
    std::byte* to = recv.data;
    std::vector<ByteTransfer> transfers;
    for (int peer = 0; peer < size(); ++peer) {
      const std::size_t out =
          static_cast<std::size_t>(out_rows[static_cast<std::size_t>(peer)]) * row;
      const std::size_t in =
          static_cast<std::size_t>(in_rows[static_cast<std::size_t>(peer)]) * row;
      if (peer == rank()) {
        if (out > 0) std::memcpy(to, from, out);
      } else {
        transfers.push_back({ByteTransfer::Kind::kSend, from, out, peer});
        transfers.push_back({ByteTransfer::Kind::kRecv, to, in, peer});
      }
      from += out;
      to += in;
    }
    transfer(transfers, "all_to_all");
  });
}

void CollectiveGroup::broadcast(Tensor inout, int root, Stream& stream) {
  if (size() == 1) return;
  require_host(inout, "broadcast");
  stream.run_host([=, this] { send_to_all(inout, root, "broadcast"); });
}

void CollectiveGroup::exchange(std::span<const PeerTransfer> transfers, Stream& stream) {
  std::vector<ByteTransfer> bytes;
  for (const PeerTransfer& t : transfers) {
    FRUGAL_CHECK(t.peer != rank(), "exchange with oneself");
    require_host(t.tensor, "exchange");
    const bool send = t.kind == PeerTransfer::Kind::kSend;
    bytes.push_back({send ? ByteTransfer::Kind::kSend : ByteTransfer::Kind::kRecv, t.tensor.data,
                     t.tensor.bytes(), t.peer});
  }
  stream.run_host([this, bytes = std::move(bytes)] { transfer(bytes, "exchange"); });
}

}  // namespace frugal
