// y = x + down(act(norm(x))): SwiGLU with a gate (Llama) or GELU (GPT-2).
#pragma once

#include "trainer/model/linear.h"
#include "trainer/model/norm.h"

namespace frugal {

class MlpLayer final : public Layer {
 public:
  MlpLayer(const ModelDimensions& dims, int index);

  std::string_view name() const override { return name_; }
  void declare(LayerBuilder& builder) override;
  void forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash& stash) const override;
  void backward_input(LayerContext& ctx, ConstTensor dy, Tensor dx,
                      const Stash& stash) const override;
  void backward_weight(LayerContext& ctx, const Stash& stash) const override;
  double cost() const override;

 private:
  bool gated() const { return dims_.gated_mlp; }
  bool trains_inputs() const { return (gated() && gate_proj_.trained()) || up_proj_.trained(); }
  Shape inner() const { return {dims_.tokens, dims_.local_intermediate()}; }
  Shape outer() const { return {dims_.local_tokens(), dims_.hidden}; }

  ModelDimensions dims_;
  std::string name_;
  Norm norm_;
  Linear gate_proj_, up_proj_, down_proj_;  // GPT-2 has no gate
  // -1: not kept, see stashed_or_scratch().
  StashId normed_ = -1, gate_ = -1, up_ = -1, activated_ = -1;
  StashId dgate_ = -1, dup_ = -1, dnormed_ = -1;
};

}  // namespace frugal
