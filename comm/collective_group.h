// What every implementation of ProcessGroup shares: the arithmetic. A transport moves bytes; sums
// are taken here, above it, so that their bits do not depend on the transport.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "comm/process_group.h"
#include "kernels/core/arena.h"

namespace frugal {

// Memory that a group of `ranks` keeps on a device for its sums, from the first one on.
std::size_t reduction_bytes(Device device, int ranks);

// Collectives in terms of one primitive: transfer(). Everything is enqueued on the caller's stream,
// on whose device the tensors lie; sums are ops there.
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
  // Throws unless this transport moves memory of this device; called before anything is enqueued.
  // `what` names the collective for errors.
  virtual void require(Device device, const char* what) const = 0;
  // Enqueues all transfers, which start together and are done when the stream has passed the call.
  // No transfer is to or from this rank; several to one peer match in list order. A failure is an
  // Error(kCommunication), thrown here or by the stream.
  virtual void transfer(const std::vector<PeerTransfer>& transfers, const char* what,
                        Stream& stream) = 0;

 private:
  void require_here(const ConstTensor& t, const char* what, const Stream& stream) const;
  // Parts are one per rank. Everybody gets everybody's own part.
  void gather_parts(std::span<const Tensor> parts, const char* what, Stream& stream);
  // out (=) is the reduction of what every rank has as this rank's part; may be that part.
  void reduce_parts(std::span<const Tensor> parts, const Tensor& out, ReduceOp op, const char* what,
                    Stream& stream);
  void reduce_small(const Tensor& inout, ReduceOp op, Stream& stream);
  void send_to_all(const Tensor& inout, int root, const char* what, Stream& stream);

  struct Scratch {
    Arena arena;
    Tensor whole;
  };
  // Memory of one call, kept for the next one: calls follow each other on the device.
  Tensor scratch(Device device, Shape shape, DType dtype);
  std::map<DeviceType, Scratch> scratch_;
};

}  // namespace frugal
