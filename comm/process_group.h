// Collectives over a fixed set of ranks. Ranks are an interface: threads in one process, MPI,
// NCCL.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <span>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

enum class ReduceOp : std::uint8_t { kSum, kMax };

// One half of a point-to-point transfer. REQUIRES: the peer lists the other half with the same
// shape and dtype.
struct PeerTransfer {
  enum class Kind : std::uint8_t { kSend, kRecv } kind;
  Tensor tensor;
  int peer;  // rank in this group
};

// Calls only enqueue on the stream: arguments must stay valid until the stream has passed the call.
// All members must enqueue the same collectives in the same order on this group; calls of one
// member come from one stream at a time. Takes tensors, never pointer and count. A group of size 1
// is a real group whose calls are copies (or nothing, in place), on any device. Reductions: f32,
// bf16, f16 and i32; f32 accumulation along ops::tree_sum over the ranks in rank order, rounded
// once; hence the same bits on every implementation and on every rank. dtypes move as bytes
// elsewhere. Errors: thread ranks throw Error(kCommunication) from the stream, naming the
// collective, when a rank has failed, and so does NCCL, when a peer does not answer either; MPI
// ends the job (comm/README.md, "Failure").
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void all_reduce(Tensor inout, ReduceOp op, Stream& stream) = 0;
  // full is the shards of all ranks one after the other along dimension 0; shard may be the own
  // part of full.
  virtual void all_gather(ConstTensor shard, Tensor full, Stream& stream) = 0;
  // shard is this rank's part of the elementwise reduction of full along dimension 0; may be the
  // own part of full. REQUIRES: full.numel() = size * shard.numel().
  virtual void reduce_scatter(ConstTensor full, Tensor shard, ReduceOp op, Stream& stream) = 0;
  // send_rows[r] rows of send go to rank r, recv_rows[r] rows of recv come from it, both in rank
  // order without gaps.
  virtual void all_to_all(ConstTensor send, Tensor recv, std::span<const std::int64_t> send_rows,
                          std::span<const std::int64_t> recv_rows, Stream& stream) = 0;
  virtual void broadcast(Tensor inout, int root, Stream& stream) = 0;
  // All transfers of one call start together and have no order inside; several to one peer match in
  // list order.
  virtual void exchange(std::span<const PeerTransfer> transfers, Stream& stream) = 0;
  // Blocks the calling thread, not a stream. Also makes sure that no other call of this group is in
  // flight on it.
  virtual void host_barrier() = 0;
  // Members with the same color form a group, ordered by key, then by rank. Collective; blocks the
  // caller. A negative color gets nullptr.
  virtual std::unique_ptr<ProcessGroup> split(int color, int key) = 0;
  // This rank has failed. Ranks that are threads: all waiting and later calls of this group and of
  // those split from it throw, on every member, so that whoever unwinds finds no stream that waits
  // for ever; run_ranks_as_threads ends with the first `why`. A rank that is a process does
  // nothing: World::abort ends it with its streams. Safe from any thread, more than once.
  virtual void abort(const std::exception_ptr&) {}
};

}  // namespace frugal
