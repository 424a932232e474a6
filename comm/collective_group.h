// What every implementation of ProcessGroup shares: the arithmetic. A transport moves bytes; sums
// are taken here, above it, so that their bits do not depend on the transport.
#pragma once

#include <memory>
#include <span>

#include "comm/process_group.h"

namespace frugal {

// A run of bytes to or from one peer of the group.
struct ByteTransfer {
  enum class Kind : std::uint8_t { kSend, kRecv } kind;
  std::byte* data;
  std::size_t bytes;
  int peer;
};

// Collectives in terms of one primitive: transfer(). Enqueues closures with Stream::run_host. Among
// several ranks tensors must lie on the host: others are refused.
class CollectiveGroup : public ProcessGroup {
 public:
  void all_reduce(Tensor inout, ReduceOp op, Stream& stream) final;
  void all_gather(ConstTensor shard, Tensor full, Stream& stream) final;
  void reduce_scatter(ConstTensor full, Tensor shard, ReduceOp op, Stream& stream) final;
  void all_to_all(ConstTensor send, Tensor recv, std::span<const std::int64_t> send_rows,
                  std::span<const std::int64_t> recv_rows, Stream& stream) final;
  void broadcast(Tensor inout, int root, Stream& stream) final;
  void exchange(std::span<const PeerTransfer> transfers, Stream& stream) final;

 protected:
  // Runs all transfers at once and returns when they are done. No transfer is to or from this rank.
  // Several to one peer match in list order. Throws Error(kCommunication). `what` names the
  // collective for errors.
  virtual void transfer(std::span<const ByteTransfer> transfers, const char* what) = 0;

 private:
  // Blocking bodies of the collectives, on the stream's host thread. Parts are one per rank.
  // Everybody gets everybody's own part.
  void gather_parts(std::span<const Tensor> parts, const char* what);
  // out (=) is the reduction of what every rank has as this rank's part; may be that part.
  void reduce_parts(std::span<const Tensor> parts, const Tensor& out, ReduceOp op,
                    const char* what);
  void reduce_small(const Tensor& inout, ReduceOp op);
  void send_to_all(const Tensor& inout, int root, const char* what);

  // Memory for one call, not zeroed, kept for the next one.
  Tensor scratch(Shape shape, DType dtype);
  std::unique_ptr<std::byte[]> scratch_;
  std::size_t scratch_bytes_ = 0;
};

}  // namespace frugal
