#include "trainer/optim/adamw.h"

#include <cmath>

#include "kernels/core/rng.h"
#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

constexpr std::uint64_t kRoundingPurpose = 4;  // rng_key: stochastic rounding

}  // namespace

AdamW::AdamW(const OptimizerConfig& config, const PrecisionConfig& precision, std::uint64_t seed,
             std::vector<OptimizerPiece> pieces, Arena& arena)
    : config_(config), seed_(seed), pieces_(std::move(pieces)) {
  const DType state = precision.optimizer_state == "bf16" ? DType::kBF16 : DType::kF32;
  for (const OptimizerPiece& piece : pieces_) {
    const Shape shape = piece.weight_N.shape;
    AdamwPiece& updated = updated_.emplace_back();
    updated.weight_N = piece.weight_N;
    if (precision.master && piece.weight_N.dtype != DType::kF32)
      updated.master_N = arena.allocate("master weights", shape, DType::kF32);
    updated.m_N = arena.allocate("exp_avg", shape, state);
    updated.v_N = arena.allocate("exp_avg_sq", shape, state);
    updated.grad_N = piece.grad_N;
    updated.weight_decay = piece.decay ? static_cast<float>(config_.weight_decay) : 0.0F;
    updated.begin = piece.begin;
  }
}

void AdamW::step(const StepScalars& scalars, Stream& stream) {
  const auto step = static_cast<double>(scalars.step);
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    updated_[i].rounding_key =
        rng_key(seed_, kRoundingPurpose, pieces_[i].id, static_cast<std::uint64_t>(scalars.step));
  }
  ops::adamw_step(stream, updated_,
                  {.grad_scale = scalars.grad_scale,
                   .learning_rate = scalars.learning_rate,
                   .beta1 = static_cast<float>(config_.beta1),
                   .beta2 = static_cast<float>(config_.beta2),
                   .eps = static_cast<float>(config_.eps),
                   .bias_correction1 = static_cast<float>(1.0 - std::pow(config_.beta1, step)),
                   .bias_correction2 = static_cast<float>(1.0 - std::pow(config_.beta2, step))});
}

void AdamW::state_from_weights(Stream& stream) {
  for (const AdamwPiece& piece : updated_) {
    if (given(piece.master_N)) ops::cast(stream, piece.master_N, piece.weight_N);
  }
}

void AdamW::weights_from_state(Stream& stream) {
  for (const AdamwPiece& piece : updated_) {
    if (given(piece.master_N)) ops::cast(stream, piece.weight_N, piece.master_N);
  }
}

std::vector<OptimizerState> AdamW::state() const {
  std::vector<OptimizerState> out{{"master", {}}, {"exp_avg", {}}, {"exp_avg_sq", {}}};
  for (const AdamwPiece& piece : updated_) {
    out[0].pieces.push_back(given(piece.master_N) ? piece.master_N : piece.weight_N);
    out[1].pieces.push_back(piece.m_N);
    out[2].pieces.push_back(piece.v_N);
  }
  return out;
}

}  // namespace frugal
