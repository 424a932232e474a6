#include "trainer/model/recompute_layer.h"

namespace frugal {

// Passes parameters on and turns the inner layer's lifetimes into the wrapper's.
class RecomputeLayer::Declaration final : public LayerBuilder {
 public:
  Declaration(LayerBuilder& outer, std::vector<Kept>& kept) : outer_(outer), kept_(kept) {}

  ParamId param(const ParamSpec& spec) override { return outer_.param(spec); }
  StashId stash(std::string_view name, Shape shape, DType dtype, Lifetime lifetime) override {
    const bool scratch = lifetime == Lifetime::kForwardToInput;
    kept_.push_back(
        {shape, dtype, scratch ? -1 : outer_.stash(name, shape, dtype, Lifetime::kInputToWeight)});
    return static_cast<StashId>(kept_.size()) - 1;
  }
  void keep_input(Lifetime lifetime) override { outer_.keep_input(lifetime); }

 private:
  LayerBuilder& outer_;
  std::vector<Kept>& kept_;
};

RecomputeLayer::RecomputeLayer(std::unique_ptr<Layer> inner, Shape output, DType dtype)
    : inner_(std::move(inner)), output_(output), dtype_(dtype) {}

void RecomputeLayer::declare(LayerBuilder& builder) {
  Declaration declaration(builder, kept_);
  inner_->declare(declaration);
}

std::vector<Tensor> RecomputeLayer::inner_tensors(Workspace* scratch, const Stash* stash) const {
  std::vector<Tensor> out;
  for (const Kept& kept : kept_) {
    if (stash != nullptr && kept.outer >= 0) {
      out.push_back((*stash)[kept.outer]);
    } else {
      out.push_back(scratch != nullptr ? scratch->allocate(kept.shape, kept.dtype) : Tensor{});
    }
  }
  return out;
}

void RecomputeLayer::forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash&) const {
  const Workspace::Mark mark(ctx.scratch);
  const auto tensors = inner_tensors(&ctx.scratch, nullptr);
  inner_->forward(ctx, x, y, {.tensors = tensors, .input = x, .output_gradient = {}});
}

void RecomputeLayer::backward_input(LayerContext& ctx, ConstTensor dy, Tensor dx,
                                    const Stash& stash) const {
  const Workspace::Mark mark(ctx.scratch);
  const auto tensors = inner_tensors(&ctx.scratch, &stash);
  const Stash inner{
      .tensors = tensors, .input = stash.input, .output_gradient = stash.output_gradient};
  const Tensor y = ctx.scratch.allocate(output_, dtype_);
  inner_->forward(ctx, stash.input, y, inner);
  inner_->backward_input(ctx, dy, dx, inner);
}

void RecomputeLayer::backward_weight(LayerContext& ctx, const Stash& stash) const {
  const auto tensors = inner_tensors(nullptr, &stash);
  inner_->backward_weight(
      ctx, {.tensors = tensors, .input = stash.input, .output_gradient = stash.output_gradient});
}

}  // namespace frugal
