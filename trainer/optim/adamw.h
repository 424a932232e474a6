// AdamW with decoupled decay (Loshchilov and Hutter, arXiv 1711.05101), float32 state, float32
// master weights.
#pragma once

#include <vector>

#include "kernels/core/arena.h"
#include "trainer/config/config.h"
#include "trainer/optim/optimizer.h"

namespace frugal {

class AdamW final : public Optimizer {
 public:
  // Takes the state of all pieces from the arena: 8 bytes an element, 12 when the weights are not
  // float32.
  AdamW(const OptimizerConfig& config, std::vector<OptimizerPiece> pieces, Arena& arena);

  void step(const StepScalars& scalars, Stream& stream) override;
  void state_from_weights(Stream& stream) override;
  void weights_from_state(Stream& stream) override;
  std::vector<OptimizerState> state() const override;

 private:
  OptimizerConfig config_;
  std::vector<OptimizerPiece> pieces_;
  std::vector<Tensor> master_, exp_avg_, exp_avg_sq_;
};

}  // namespace frugal
