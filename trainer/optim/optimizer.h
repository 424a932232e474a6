// What turns gradients into weights. Sees only the pieces that this rank updates, never layers or
// groups.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

struct StepScalars {
  std::int64_t step = 1;  // of this update, from 1
  float learning_rate = 0.0F;
  float grad_scale = 1.0F;  // multiplies every gradient first
};

// A run of elements of one parameter.
struct OptimizerPiece {
  Tensor weight_N;     // compute dtype
  ConstTensor grad_N;  // f32
  bool decay = false;
  // Of random numbers: what names the tensor that the piece is cut from, and where in it the piece
  // begins; the same on every layout.
  std::uint64_t id = 0;
  std::int64_t begin = 0;
};

// One kind of state of every piece, in the order of the pieces.
struct OptimizerState {
  std::string name;  // "master", "exp_avg", ...
  std::vector<Tensor> pieces;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Enqueues the update of every piece.
  virtual void step(const StepScalars& scalars, Stream& stream) = 0;
  // Enqueues what makes state out of weights (a new run), or weights out of state (after a
  // checkpoint was read into it).
  virtual void state_from_weights(Stream& stream) = 0;
  virtual void weights_from_state(Stream& stream) = 0;
  // For checkpoints. Includes what weights are made of under "master": the weights themselves in a
  // float32 run and in one without master weights.
  virtual std::vector<OptimizerState> state() const = 0;
};

}  // namespace frugal
