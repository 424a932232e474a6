// LoRA (Hu et al., arXiv 2106.09685): what is added to a frozen linear map.
// Legend: T all tokens of the micro-batch, i, o this rank's inputs and outputs, R rank.
#pragma once

#include <string>

#include "trainer/model/dimensions.h"
#include "trainer/model/layer.h"

namespace frugal {

// The rows of a weight [out, in] that this rank multiplies; end 0: all.
struct WeightRows {
  std::int64_t begin = 0, end = 0;

  Tensor of(Tensor weight) const { return end == 0 ? weight : weight.slice(begin, end); }
};

// y += scale (x A^T) B^T with scale = alpha / R. Trained are A [R, in], "<name>.lora_A.weight", and
// B [out, R], "<name>.lora_B.weight". A begins with normal numbers of variance 1 / (3 in), that of
// PEFT's uniform ones, B with 0.
//
// A map that is split by columns has A whole on every rank and B's rows; one that is split by rows
// has A's columns, with which x A^T is a partial sum as its y is, and B whole. x A^T and dy B are
// computed again in backward_weight instead of kept.
class LoraAdapter {
 public:
  // weight: the map's; `name` is its name without ".weight". Declares nothing where it is no
  // target.
  void declare(LayerBuilder& builder, const LoraDimensions& lora, const std::string& name,
               const ParamSpec& weight);
  bool declared() const { return a_ >= 0; }

  // y_To += scale (x A^T) B^T.
  void forward(LayerContext& ctx, Tensor y_To, ConstTensor x_Ti, WeightRows rows) const;
  // dx_Ti += scale (dy B) A.
  void backward_input(LayerContext& ctx, Tensor dx_Ti, ConstTensor dy_To, WeightRows rows) const;
  // dA += scale (dy B)^T x, dB += scale dy^T (x A^T).
  void backward_weight(LayerContext& ctx, ConstTensor dy_To, ConstTensor x_Ti,
                       WeightRows rows) const;

 private:
  // In scratch, which the caller marks.
  Tensor down(LayerContext& ctx, ConstTensor x_Ti) const;                             // scale x A^T
  Tensor down_gradient(LayerContext& ctx, ConstTensor dy_To, WeightRows rows) const;  // scale dy B

  ParamId a_ = -1, b_ = -1;
  float scale_ = 0.0F;
};

}  // namespace frugal
