#include "comm/collective_group.h"

#include <algorithm>
#include <cstring>

#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

// Below this an all-reduce is one exchange of everything; above, reduce-scatter and all-gather move
// less.
constexpr std::size_t kSmallBytes = 4096;

using Buffer = std::vector<std::byte>;

std::size_t row_bytes(const ConstTensor& t) {
  return t.shape[0] == 0 ? 0 : t.bytes() / static_cast<std::size_t>(t.shape[0]);
}

template <class Combine>
void combine_integers(const Tensor& out, const std::byte* parts, int ranks,
                      const Combine& combine) {
  const auto* in = reinterpret_cast<const std::int32_t*>(parts);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    std::int32_t value = in[i];
    for (int r = 1; r < ranks; ++r) value = combine(value, in[r * out.numel() + i]);
    out.as<std::int32_t>()[i] = value;
  }
}

// out = the parts of all ranks, one after the other, reduced in rank order along the fixed tree.
void reduce_parts(const Tensor& out, std::byte* parts, int ranks, ReduceOp op) {
  if (out.numel() == 0) return;
  if (out.dtype == DType::kI32) {
    FRUGAL_CHECK(op != ReduceOp::kAvg, "the average of integers is not defined here");
    if (op == ReduceOp::kSum) {
      combine_integers(out, parts, ranks, [](std::int32_t a, std::int32_t b) { return a + b; });
    } else {
      combine_integers(out, parts, ranks,
                       [](std::int32_t a, std::int32_t b) { return a > b ? a : b; });
    }
    return;
  }
  const auto stream = make_stream({}, "reduce");
  const Tensor flat = out.reshape({out.numel()});
  const Tensor rows{parts, {ranks, out.numel()}, out.dtype, {}};
  if (op == ReduceOp::kMax) {
    ops::max_rows(*stream, flat, rows);
    return;
  }
  ops::tree_sum(*stream, flat, rows);
  if (op == ReduceOp::kSum) return;
  visit_float(out.dtype, [&]<class T>() {
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      out.as<T>()[i] = T(static_cast<float>(out.as<T>()[i]) / static_cast<float>(ranks));
    }
  });
}

}  // namespace

void CollectiveGroup::gather_bytes(const std::byte* own, std::byte* full, std::size_t bytes,
                                   const char* what) {
  std::byte* mine = full + static_cast<std::size_t>(rank()) * bytes;
  if (bytes > 0 && own != mine) std::memmove(mine, own, bytes);
  std::vector<ByteTransfer> transfers;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    transfers.push_back({ByteTransfer::Kind::kSend, mine, bytes, peer});
    transfers.push_back(
        {ByteTransfer::Kind::kRecv, full + static_cast<std::size_t>(peer) * bytes, bytes, peer});
  }
  transfer(transfers, what);
}

void CollectiveGroup::reduce_whole(const Tensor& inout, ReduceOp op) {
  Buffer parts(inout.bytes() * static_cast<std::size_t>(size()));
  gather_bytes(inout.data, parts.data(), inout.bytes(), "all_reduce");
  reduce_parts(inout, parts.data(), size(), op);
}

void CollectiveGroup::reduce_part(const ConstTensor& full, const Tensor& shard, ReduceOp op,
                                  const char* what) {
  const std::size_t bytes = shard.bytes();
  Buffer parts(bytes * static_cast<std::size_t>(size()));
  std::vector<ByteTransfer> transfers;
  for (int peer = 0; peer < size(); ++peer) {
    const std::size_t at = static_cast<std::size_t>(peer) * bytes;
    auto* piece = const_cast<std::byte*>(full.data) + at;  // only read by a send
    if (peer == rank()) {
      if (bytes > 0) std::memcpy(parts.data() + at, piece, bytes);
      continue;
    }
    transfers.push_back({ByteTransfer::Kind::kSend, piece, bytes, peer});
    transfers.push_back({ByteTransfer::Kind::kRecv, parts.data() + at, bytes, peer});
  }
  transfer(transfers, what);
  reduce_parts(shard, parts.data(), size(), op);
}

void CollectiveGroup::all_reduce(Tensor inout, ReduceOp op, Stream& stream) {
  if (size() == 1) return;
  stream.run_host([this, inout, op] {
    const std::int64_t count = inout.numel();
    if (inout.bytes() <= kSmallBytes) return reduce_whole(inout, op);
    // Parts of equal size, the last ones padded, so that shards line up for the gather.
    const std::int64_t part = (count + size() - 1) / size();
    const std::size_t element = size_of(inout.dtype);
    Buffer padded(static_cast<std::size_t>(part * size()) * element);
    std::memcpy(padded.data(), inout.data, inout.bytes());
    const Tensor full{padded.data(), {part * size()}, inout.dtype, {}};
    reduce_part(full, full.slice(rank() * part, (rank() + 1) * part), op, "all_reduce");
    gather_bytes(full.data + static_cast<std::size_t>(rank() * part) * element, full.data,
                 static_cast<std::size_t>(part) * element, "all_reduce");
    std::memcpy(inout.data, padded.data(), inout.bytes());
  });
}

void CollectiveGroup::all_gather(ConstTensor shard, Tensor full, Stream& stream) {
  FRUGAL_CHECK(full.numel() == shard.numel() * size() && full.dtype == shard.dtype,
               "all_gather of ", to_string(shard.shape), " over ", size(), " ranks into ",
               to_string(full.shape));
  stream.run_host([=, this] { gather_bytes(shard.data, full.data, shard.bytes(), "all_gather"); });
}

void CollectiveGroup::reduce_scatter(ConstTensor full, Tensor shard, ReduceOp op, Stream& stream) {
  FRUGAL_CHECK(full.numel() == shard.numel() * size() && full.dtype == shard.dtype,
               "reduce_scatter of ", to_string(full.shape), " over ", size(), " ranks into ",
               to_string(shard.shape));
  stream.run_host([=, this] { reduce_part(full, shard, op, "reduce_scatter"); });
}

void CollectiveGroup::all_to_all(ConstTensor send, Tensor recv,
                                 std::span<const std::int64_t> send_rows,
                                 std::span<const std::int64_t> recv_rows, Stream& stream) {
  const std::vector<std::int64_t> out_rows(send_rows.begin(), send_rows.end());
  const std::vector<std::int64_t> in_rows(recv_rows.begin(), recv_rows.end());
  FRUGAL_CHECK(
      static_cast<int>(out_rows.size()) == size() && static_cast<int>(in_rows.size()) == size(),
      "all_to_all needs one row count per rank");
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
  stream.run_host([=, this] {
    std::vector<ByteTransfer> transfers;
    if (rank() != root) {
      transfers.push_back({ByteTransfer::Kind::kRecv, inout.data, inout.bytes(), root});
    } else {
      for (int peer = 0; peer < size(); ++peer) {
        if (peer != root)
          transfers.push_back({ByteTransfer::Kind::kSend, inout.data, inout.bytes(), peer});
      }
    }
    transfer(transfers, "broadcast");
  });
}

void CollectiveGroup::exchange(std::span<const PeerTransfer> transfers, Stream& stream) {
  std::vector<ByteTransfer> bytes;
  for (const PeerTransfer& t : transfers) {
    FRUGAL_CHECK(t.peer != rank(), "exchange with oneself");
    const bool send = t.kind == PeerTransfer::Kind::kSend;
    bytes.push_back({send ? ByteTransfer::Kind::kSend : ByteTransfer::Kind::kRecv, t.tensor.data,
                     t.tensor.bytes(), t.peer});
  }
  stream.run_host([this, bytes = std::move(bytes)] { transfer(bytes, "exchange"); });
}

}  // namespace frugal
