// AdamW with decoupled decay (Loshchilov and Hutter, arXiv 1711.05101). State in float32 or
// bfloat16, weights with or without a float32 master: precision.optimizer_state and
// precision.master.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/arena.h"
#include "kernels/ops/optimizer.h"
#include "trainer/config/config.h"
#include "trainer/optim/optimizer.h"

namespace frugal {

class AdamW final : public Optimizer {
 public:
  // Takes the state of all pieces from the arena: two moments of 4 or 2 bytes an element, and 4 of
  // a master. seed: of stochastic rounding.
  AdamW(const OptimizerConfig& config, const PrecisionConfig& precision, std::uint64_t seed,
        std::vector<OptimizerPiece> pieces, Arena& arena);

  void step(const StepScalars& scalars, Stream& stream) override;
  void state_from_weights(Stream& stream) override;
  void weights_from_state(Stream& stream) override;
  std::vector<OptimizerState> state() const override;

 private:
  OptimizerConfig config_;
  std::uint64_t seed_;
  std::vector<OptimizerPiece> pieces_;
  std::vector<AdamwPiece> updated_;  // the same, as the op takes them
};

}  // namespace frugal
