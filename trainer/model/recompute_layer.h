// A layer that keeps only its input and runs its forward again in backward (Chen et al., arXiv
// 1604.06174).
#pragma once

#include <memory>
#include <vector>

#include "trainer/model/layer.h"

namespace frugal {

// Wraps a layer; the same bits, since the same ops run on the same input. What the inner layer
// keeps from forward to backward_input lies in scratch; what it keeps until backward_weight is kept
// from backward_input on.
class RecomputeLayer final : public Layer {
 public:
  RecomputeLayer(std::unique_ptr<Layer> inner, Shape output, DType dtype);

  std::string_view name() const override { return inner_->name(); }
  void declare(LayerBuilder& builder) override;
  void forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash& stash) const override;
  void backward_input(LayerContext& ctx, ConstTensor dy, Tensor dx,
                      const Stash& stash) const override;
  void backward_weight(LayerContext& ctx, const Stash& stash) const override;
  double cost() const override { return inner_->cost(); }

 private:
  struct Kept {
    Shape shape;
    DType dtype;
    StashId outer;  // -1: scratch
  };
  class Declaration;

  // The inner layer's stash: kept tensors from `stash`, the rest from scratch when in_scratch,
  // otherwise null.
  std::vector<Tensor> inner_tensors(Workspace* scratch, const Stash* stash) const;

  std::unique_ptr<Layer> inner_;
  Shape output_;
  DType dtype_;
  std::vector<Kept> kept_;
};

}  // namespace frugal
