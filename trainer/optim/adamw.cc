#include "trainer/optim/adamw.h"

#include <cmath>

#include "kernels/ops/elementwise.h"
#include "kernels/ops/optimizer.h"

namespace frugal {

AdamW::AdamW(const OptimizerConfig& config, std::vector<OptimizerPiece> pieces, Arena& arena)
    : config_(config), pieces_(std::move(pieces)) {
  for (const OptimizerPiece& piece : pieces_) {
    const Shape shape = piece.weight_N.shape;
    const bool own_master = piece.weight_N.dtype != DType::kF32;
    master_.push_back(own_master ? arena.allocate("master weights", shape, DType::kF32)
                                 : piece.weight_N);
    exp_avg_.push_back(arena.allocate("exp_avg", shape, DType::kF32));
    exp_avg_sq_.push_back(arena.allocate("exp_avg_sq", shape, DType::kF32));
  }
}

void AdamW::step(const StepScalars& scalars, Stream& stream) {
  const auto step = static_cast<double>(scalars.step);
  AdamwArgs args;
  args.grad_scale = scalars.grad_scale;
  args.learning_rate = scalars.learning_rate;
  args.beta1 = static_cast<float>(config_.beta1);
  args.beta2 = static_cast<float>(config_.beta2);
  args.eps = static_cast<float>(config_.eps);
  args.bias_correction1 = static_cast<float>(1.0 - std::pow(config_.beta1, step));
  args.bias_correction2 = static_cast<float>(1.0 - std::pow(config_.beta2, step));
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    args.weight_N = pieces_[i].weight_N;
    args.master_N = pieces_[i].weight_N.dtype == DType::kF32 ? Tensor{} : master_[i];
    args.m_N = exp_avg_[i];
    args.v_N = exp_avg_sq_[i];
    args.grad_N = pieces_[i].grad_N;
    args.weight_decay = pieces_[i].decay ? static_cast<float>(config_.weight_decay) : 0.0F;
    ops::adamw_step(stream, args);
  }
}

void AdamW::state_from_weights(Stream& stream) {
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (pieces_[i].weight_N.dtype != DType::kF32)
      ops::cast(stream, master_[i], pieces_[i].weight_N);
  }
}

void AdamW::weights_from_state(Stream& stream) {
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (pieces_[i].weight_N.dtype != DType::kF32)
      ops::cast(stream, pieces_[i].weight_N, master_[i]);
  }
}

std::vector<OptimizerState> AdamW::state() const {
  return {{"master", master_}, {"exp_avg", exp_avg_}, {"exp_avg_sq", exp_avg_sq_}};
}

}  // namespace frugal
