// What of a rank goes into a checkpoint.
#include <algorithm>
#include <string_view>

#include "kernels/ops/elementwise.h"

#include "trainer/engine/rank_model.h"

namespace frugal {

std::vector<TensorRun> RankModel::state_runs(bool saved) const {
  std::vector<TensorRun> out;
  for (const OptimizerState& state : optimizer_->state()) {
    FRUGAL_CHECK(state.pieces.size() == pieces_.size(), state.name, " has ", state.pieces.size(),
                 " pieces");
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      const ShardPiece& piece = pieces_[i];
      const ParamSpec& spec = params_.entry(piece.param).spec;
      const bool elsewhere = !piece.owned || spec.tie == ParamTie::kCopy ||
                             (!spec.sharded && mesh_.coordinate(Axis::kTensor) != 0);
      const std::int64_t end = std::min(piece.end, spec.valid.numel());  // padding stays here
      if ((saved && elsewhere) || piece.begin >= end) continue;
      out.push_back({.name = state.name + "/" + spec.name,
                     .global = spec.global,
                     .offset = spec.offset,
                     .extent = spec.valid,
                     .begin = piece.begin,
                     .end = end,
                     .local = state.pieces[i].slice(0, end - piece.begin)});
    }
  }
  return out;
}

void RankModel::initialize(const SliceReader& weights) {
  constexpr std::string_view kMaster = "master/";
  std::vector<TensorRun> masters;
  for (TensorRun& run : state_runs(false)) {
    if (!run.name.starts_with(kMaster)) {
      ops::fill(*compute_, run.local, 0.0F);
      continue;
    }
    run.name.erase(0, kMaster.size());
    masters.push_back(std::move(run));
  }
  load_runs(masters, weights, *compute_, staging_);
  restored();
}

void RankModel::load_frozen(const SliceReader& weights) {
  std::vector<ParamId> frozen;
  for (ParamId id = 0; id < params_.size(); ++id) {
    if (!params_.trained(id)) frozen.push_back(id);
  }
  load_runs(weight_runs(params_, frozen), weights, *compute_, staging_);
}

void RankModel::restored() {
  optimizer_->weights_from_state(*compute_);
  gather_weights();
  reducer_->clear(*compute_);
  compute_->synchronize();
}

}  // namespace frugal
