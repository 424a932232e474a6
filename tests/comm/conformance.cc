#include "tests/comm/conformance.h"

#include <time.h>

#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "comm/device_mesh.h"
#include "comm/ordered_reduce.h"
#include "kernels/core/arena.h"
#include "kernels/ops/elementwise.h"
#include "tests/support/tensors.h"

namespace frugal::test {
namespace {

void expect(bool condition, const char* what, std::int64_t element = 0) {
  if (!condition)
    throw std::runtime_error(concat("rank ", thread_rank(), ": ", what, ", element ", element));
}

// A tensor where the group works. The host fills and reads `host`, which is the tensor itself where
// the group works on the host.
class Placed {
 public:
  Placed(Stream& stream, Owned host) : host(std::move(host)), stream_(stream), there_(this->host) {
    if (on_host(stream.device())) return;
    memory_.emplace(stream.device(), aligned(there_.bytes()));
    there_ = memory_->allocate("test", there_.shape, there_.dtype);
    upload();
  }
  operator Tensor() const { return there_; }       // NOLINT(google-explicit-constructor)
  operator ConstTensor() const { return there_; }  // NOLINT(google-explicit-constructor)
  const Tensor& get() const { return there_; }
  void upload() { ops::copy(stream_, there_, host); }
  // Enqueues what makes host readable after the stream's synchronize().
  void download() { ops::copy(stream_, host, there_); }
  float at(std::int64_t i) const { return host.at(i); }

  Owned host;

 private:
  Stream& stream_;
  std::optional<Arena> memory_;
  Tensor there_;
};

// Row r of a matrix, as a vector.
Owned row_of(const Owned& rows_RN, int r) {
  const Tensor row = rows_RN.get().slice(r, r + 1);
  Owned out({row.numel()}, row.dtype);
  std::memcpy(out.get().data, row.data, row.bytes());
  return out;
}

// A small integer that both dtypes hold exactly.
float value(int rank, std::int64_t i) {
  return static_cast<float>((rank * 7 + i * 3) % 16);
}

Owned filled(int rank, std::int64_t count, DType dtype) {
  Owned out({count}, dtype);
  for (std::int64_t i = 0; i < count; ++i) out.set(i, value(rank, i));
  return out;
}

void check_reductions(ProcessGroup& group, Stream& stream, std::int64_t count, DType dtype) {
  const int size = group.size();
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax}) {
    Placed x(stream, filled(group.rank(), count, dtype));
    group.all_reduce(x, op, stream);
    x.download();
    const Placed full(stream, filled(group.rank(), count * size, dtype));
    Placed shard(stream, Owned({count}, dtype));
    group.reduce_scatter(full, shard, op, stream);
    shard.download();
    stream.synchronize();
    for (std::int64_t i = 0; i < count; ++i) {
      float whole = 0.0F, part = 0.0F;
      for (int r = 0; r < size; ++r) {
        const float a = value(r, i), b = value(r, i + count * group.rank());
        whole = op == ReduceOp::kSum ? whole + a : std::max(whole, a);
        part = op == ReduceOp::kSum ? part + b : std::max(part, b);
      }
      expect(x.at(i) == whole, "all_reduce", i);
      expect(shard.at(i) == part, "reduce_scatter", i);
    }
  }
}

// More than a device adds up at once.
void check_long_sum(ProcessGroup& group, Stream& stream) {
  constexpr std::int64_t kCount = (std::int64_t{17} << 20) / 4 + 1;
  Placed x(stream, filled(group.rank(), kCount, DType::kF32));
  group.all_reduce(x, ReduceOp::kSum, stream);
  x.download();
  stream.synchronize();
  for (std::int64_t i = 0; i < kCount; ++i) {
    float sum = 0.0F;
    for (int r = 0; r < group.size(); ++r) sum += value(r, i);
    expect(x.at(i) == sum, "a long all_reduce", i);
  }
}

void check_moves(ProcessGroup& group, Stream& stream, std::int64_t count) {
  const int size = group.size(), rank = group.rank();
  const Placed shard(stream, filled(rank, count, DType::kF32));
  Placed full(stream, Owned({count * size}, DType::kF32));
  group.all_gather(shard, full, stream);
  Placed root(stream, filled(rank, count, DType::kF32));
  group.broadcast(root, size - 1, stream);
  // Rank a sends a + b + 1 rows to rank b.
  std::vector<std::int64_t> send_rows, recv_rows;
  std::int64_t sent = 0, received = 0;
  for (int peer = 0; peer < size; ++peer) {
    send_rows.push_back(rank + peer + 1);
    recv_rows.push_back(rank + peer + 1);
    sent += send_rows.back();
    received += recv_rows.back();
  }
  Placed out(stream, Owned({sent, 3}, DType::kF32)), in(stream, Owned({received, 3}, DType::kF32));
  std::int64_t row = 0;
  for (int peer = 0; peer < size; ++peer) {
    for (std::int64_t i = 0; i < 3 * (rank + peer + 1); ++i)
      out.host.set(row++, static_cast<float>(rank * 100 + peer));
  }
  out.upload();
  group.all_to_all(out, in, send_rows, recv_rows, stream);
  for (Placed* result : {&full, &root, &in}) result->download();
  stream.synchronize();
  for (std::int64_t i = 0; i < count * size; ++i) {
    expect(full.at(i) == value(static_cast<int>(i / count), i % count), "all_gather");
  }
  for (std::int64_t i = 0; i < count; ++i) expect(root.at(i) == value(size - 1, i), "broadcast");
  row = 0;
  for (int peer = 0; peer < size; ++peer) {
    for (std::int64_t i = 0; i < 3 * (rank + peer + 1); ++i) {
      expect(in.at(row++) == static_cast<float>(peer * 100 + rank), "all_to_all");
    }
  }
}

// A ring, two messages of different sizes to each side, which must match in order. What a message
// lies in is written before and read after by the stream alone.
void check_exchange(ProcessGroup& group, Stream& stream, std::int64_t count) {
  const int size = group.size(), rank = group.rank();
  if (size == 1) return;
  const int next = (rank + 1) % size, before = (rank + size - 1) % size;
  const Placed a(stream, filled(rank, count, DType::kF32));
  const Placed b(stream, filled(rank + 100, 5, DType::kF32));
  Placed c(stream, Owned({count}, DType::kF32)), d(stream, Owned({5}, DType::kF32));
  using Kind = PeerTransfer::Kind;
  const std::array<PeerTransfer, 4> transfers{
      PeerTransfer{Kind::kRecv, c, before}, PeerTransfer{Kind::kSend, a, next},
      PeerTransfer{Kind::kSend, b, next}, PeerTransfer{Kind::kRecv, d, before}};
  for (int round = 0; round < 3; ++round) {
    group.exchange(transfers, stream);
    c.download();
    d.download();
    for (const Placed* sent : {&a, &b}) ops::add(stream, *sent, *sent, *sent);
  }
  stream.synchronize();
  for (std::int64_t i = 0; i < count; ++i) {
    expect(c.at(i) == 4.0F * value(before, i), "the first message", i);
  }
  for (std::int64_t i = 0; i < 5; ++i) {
    expect(d.at(i) == 4.0F * value(before + 100, i), "the second message", i);
  }
}

void check_groups(ProcessGroup& world, const Place& place) {
  const auto half = world.split(world.rank() % 2, -world.rank());
  const auto stream = make_stream(place.device, "half", place.mode);
  check_reductions(*half, *stream, 10, DType::kF32);
  expect(half->rank() == half->size() - 1 - world.rank() / 2, "split orders by key");
  const auto none = world.split(world.rank() == 0 ? 0 : -1, 0);
  expect((none != nullptr) == (world.rank() == 0), "a negative color gets no group");
}

// Every rank adds its own row of one matrix: the sum must have the bits of the tree over all rows.
void check_ordered_reduce(ProcessGroup& group, Stream& stream) {
  constexpr std::int64_t kRows = 5, kColumns = 33;
  const int size = group.size();
  const Owned all = random_tensor({size, kRows * kColumns}, DType::kF32, 3);
  const Owned expected({kRows * kColumns}, DType::kF32);
  ops::tree_sum(*make_stream({}, "expected"), expected, all);
  const RowRange own = rows_of_rank(kRows, group.rank(), size);
  const Placed scratch(stream, Owned({size * own.rows(), kColumns}, DType::kF32));
  const Placed full(stream, row_of(all, group.rank()));
  Placed whole(stream, Owned({kRows, kColumns}, DType::kF32));
  const Tensor full_RC = full.get().reshape({kRows, kColumns});
  ordered_reduce_scatter(group, full_RC.slice(own.begin, own.end), full_RC, scratch, stream);
  gather_rows(group, full_RC.slice(own.begin, own.end), whole, stream);
  whole.download();
  stream.synchronize();
  expect(whole.host.bits() == expected.bits(), "ordered_reduce_scatter");
}

// Random numbers show the order of a sum in its bits.
void check_sum_bits(ProcessGroup& group, Stream& stream, std::int64_t count, DType dtype) {
  const Owned all = random_tensor({group.size(), count}, dtype, 11);
  const Owned expected({count}, dtype);
  ops::tree_sum(*make_stream({}, "expected"), expected, all);
  Placed sum(stream, row_of(all, group.rank()));
  group.all_reduce(sum, ReduceOp::kSum, stream);
  sum.download();
  stream.synchronize();
  expect(sum.host.bits() == expected.bits(), "the bits of all_reduce");
}

// Rank 0 is late: the others must leave it the core.
void check_waiting_is_idle(ProcessGroup& group) {
  const auto cpu_seconds = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  group.host_barrier();
  const double before = cpu_seconds();
  if (group.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  group.host_barrier();
  expect(cpu_seconds() - before < 0.04, "a rank that waits must not burn its core");
}

}  // namespace

void check_conformance(ProcessGroup& world, const Place& place) {
  const auto stream = make_stream(place.device, "test", place.mode);
  for (const std::int64_t count : {0, 1, 7, 5000, 300000}) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16})
      check_reductions(world, *stream, count, dtype);
    check_moves(world, *stream, count);
  }
  for (const std::int64_t count : {7, 1000, 3000}) {  // on either side of what counts as small
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16})
      check_sum_bits(world, *stream, count, dtype);
  }
  for (const std::int64_t count : {5, 700000}) check_exchange(world, *stream, count);
  check_ordered_reduce(world, *stream);
  check_groups(world, place);
  if (!on_host(place.device) && world.size() == 2) check_long_sum(world, *stream);
  if (on_host(place.device) && place.mode == StreamMode::kInline) check_waiting_is_idle(world);
  world.host_barrier();
}

}  // namespace frugal::test
