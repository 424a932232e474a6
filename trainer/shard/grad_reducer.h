// Sums gradients: micro-batches into lanes, lanes into one fixed binary tree, over this rank and
// then over the data axis, while backward goes on.
#pragma once

#include <span>
#include <vector>

#include "comm/device_mesh.h"
#include "comm/ordered_reduce.h"
#include "kernels/core/arena.h"
#include "trainer/model/param_store.h"

namespace frugal {

struct GradReducerOptions {
  int lanes = 1;  // of this rank; a power of two
  int microbatches_per_lane = 1;
  bool whole = false;  // ZeRO stage 0: every rank needs every reduced gradient
};

// After finish() the rows of each trained bucket that this data rank owns (rows_of_rank) hold the
// sum over all micro-batches of the step, all data ranks, for replicated parameters all tensor
// ranks, and for tied ones both uses; with `whole` all rows do. One thread. Work goes to two
// streams: sums to compute, exchanges to comm.
class GradReducer {
 public:
  GradReducer(ParamStore& params, DeviceMesh& mesh, const GradReducerOptions& options,
              Arena& arena);

  // The weight gradients of these parameters for one local micro-batch have been enqueued on
  // compute. When that completes a bucket's last lane, the bucket's exchange starts on comm.
  void accumulated(std::span<const ParamId> params, int microbatch, Stream& compute, Stream& comm);
  // After the step's last accumulated(): completes all sums; later work on compute sees them.
  void finish(Stream& compute, Stream& comm);
  // Makes all gradients zero for the next step, on compute.
  void clear(Stream& compute);

 private:
  struct BucketState {
    std::vector<Tensor> levels;  // sums of 2^level finished lanes, f32
    int reported = 0;            // parameters whose current micro-batch is done
    bool exchanged = false;      // in this step
  };

  void lane_done(std::size_t index, int lane, Stream& compute, Stream& comm);
  void exchange(std::size_t index, Stream& compute, Stream& comm);
  void sum_tied(Stream& comm);
  RowRange own_rows(const ParamBucket& bucket) const;
  Tensor own_grads(const ParamBucket& bucket) const;

  ParamStore& params_;
  DeviceMesh& mesh_;
  GradReducerOptions options_;
  std::vector<BucketState> state_;  // by bucket; nothing happens to frozen ones
  Tensor scratch_;                  // f32, where the peers' pieces arrive; used in comm's order
};

}  // namespace frugal
