#include "trainer/shard/grad_reducer.h"

#include <algorithm>
#include <array>
#include <bit>

#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

void order_after(Stream& later, Stream& earlier) {
  Event event;
  earlier.record(event);
  later.wait(event);
}

}  // namespace

GradReducer::GradReducer(ParamStore& params, DeviceMesh& mesh, const GradReducerOptions& options,
                         Arena& arena)
    : params_(params), mesh_(mesh), options_(options), state_(params.buckets().size()) {
  FRUGAL_CHECK(std::has_single_bit(static_cast<unsigned>(options.lanes)), "lanes ", options.lanes);
  const int levels = std::countr_zero(static_cast<unsigned>(options.lanes));
  std::int64_t scratch_rows = 0;
  for (std::size_t i = 0; i < state_.size(); ++i) {
    const ParamBucket& bucket = params.buckets()[i];
    if (!bucket.trained) continue;
    for (int level = 0; level < levels; ++level) {
      state_[i].levels.push_back(arena.allocate(concat("lane sums of bucket ", i, " level ", level),
                                                {bucket.blocks, kParamBlock}, DType::kF32));
    }
    const std::int64_t own = own_rows(bucket).rows();
    if (mesh.size(Axis::kData) > 1)
      scratch_rows = std::max(scratch_rows, own * mesh.size(Axis::kData));
    if (bucket.tie != ParamTie::kNone && mesh.size(Axis::kPipeline) > 1) {
      scratch_rows = std::max(scratch_rows, own);
    }
  }
  scratch_ = arena.allocate("gradient exchange", {scratch_rows, kParamBlock}, DType::kF32);
}

RowRange GradReducer::own_rows(const ParamBucket& bucket) const {
  return rows_of_rank(bucket.blocks, mesh_.coordinate(Axis::kData), mesh_.size(Axis::kData));
}

Tensor GradReducer::own_grads(const ParamBucket& bucket) const {
  const RowRange rows = own_rows(bucket);
  return bucket.grads.slice(rows.begin, rows.end);
}

void GradReducer::accumulated(std::span<const ParamId> params, int microbatch, Stream& compute,
                              Stream& comm) {
  for (const ParamId id : params) {
    if (!params_.trained(id)) continue;
    const auto index = static_cast<std::size_t>(params_.entry(id).bucket);
    BucketState& state = state_[index];
    if (++state.reported < static_cast<int>(params_.buckets()[index].params.size())) continue;
    state.reported = 0;
    if ((microbatch + 1) % options_.microbatches_per_lane == 0) {
      lane_done(index, microbatch / options_.microbatches_per_lane, compute, comm);
    }
  }
}

// A binary counter: lane 5 = 0b101 finds the sum of lane 4 at level 0 and passes it on to level 1.
void GradReducer::lane_done(std::size_t index, int lane, Stream& compute, Stream& comm) {
  const ParamBucket& bucket = params_.buckets()[index];
  std::size_t level = 0;
  for (; ((lane >> level) & 1) != 0; ++level) {
    ops::add(compute, bucket.grads, state_[index].levels[level], bucket.grads);
  }
  if (lane + 1 == options_.lanes) {
    exchange(index, compute, comm);
  } else {
    ops::cast(compute, state_[index].levels[level], bucket.grads);
    ops::fill(compute, bucket.grads, 0.0F);
  }
}

void GradReducer::exchange(std::size_t index, Stream& compute, Stream& comm) {
  state_[index].exchanged = true;
  if (mesh_.size(Axis::kData) == 1) return;
  const ParamBucket& bucket = params_.buckets()[index];
  order_after(comm, compute);
  const Tensor scratch = scratch_.slice(0, own_rows(bucket).rows() * mesh_.size(Axis::kData));
  ordered_reduce_scatter(mesh_.group(Axis::kData), own_grads(bucket), bucket.grads, scratch, comm);
}

void GradReducer::finish(Stream& compute, Stream& comm) {
  order_after(comm, compute);
  for (std::size_t i = 0; i < state_.size(); ++i) {
    if (!params_.buckets()[i].trained) continue;
    FRUGAL_CHECK(state_[i].exchanged || compute.planning(), "bucket ", i,
                 " did not see its last micro-batch");
    state_[i].exchanged = false;
    const ParamBucket& bucket = params_.buckets()[i];
    if (bucket.replicated && mesh_.size(Axis::kTensor) > 1) {
      mesh_.group(Axis::kTensor).all_reduce(own_grads(bucket), ReduceOp::kSum, comm);
    }
  }
  sum_tied(comm);
  if (options_.whole && mesh_.size(Axis::kData) > 1) {
    for (const ParamBucket& bucket : params_.buckets()) {
      if (!bucket.trained) continue;
      gather_rows(mesh_.group(Axis::kData), own_grads(bucket), bucket.grads, comm);
    }
  }
  order_after(compute, comm);
}

// Both uses of a tied parameter are cut alike (each is alone in its bucket), and a + b has the bits
// of b + a: both sides get the same sum.
void GradReducer::sum_tied(Stream& comm) {
  const ParamBucket* owner = nullptr;
  const ParamBucket* copy = nullptr;
  for (const ParamBucket& bucket : params_.buckets()) {
    if (!bucket.trained) continue;
    if (bucket.tie == ParamTie::kOwner) owner = &bucket;
    if (bucket.tie == ParamTie::kCopy) copy = &bucket;
  }
  if (owner != nullptr && copy != nullptr) {
    ops::add(comm, own_grads(*owner), own_grads(*owner), own_grads(*copy));
    return;
  }
  const ParamBucket* mine = owner != nullptr ? owner : copy;
  if (mine == nullptr) return;
  const int peer = owner != nullptr ? mesh_.size(Axis::kPipeline) - 1 : 0;
  const Tensor own = own_grads(*mine);
  const Tensor arrived = scratch_.slice(0, own.shape[0]);
  const std::array<PeerTransfer, 2> transfers{
      PeerTransfer{PeerTransfer::Kind::kSend, own, peer},
      PeerTransfer{PeerTransfer::Kind::kRecv, arrived, peer},
  };
  mesh_.group(Axis::kPipeline).exchange(transfers, comm);
  ops::add(comm, own, own, arrived);
}

void GradReducer::clear(Stream& compute) {
  for (const ParamBucket& bucket : params_.buckets()) {
    if (bucket.trained) ops::fill(compute, bucket.grads, 0.0F);
  }
}

}  // namespace frugal
