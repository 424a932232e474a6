#include "trainer/model/mlp_layer.h"

#include <cmath>

#include "kernels/ops/activation.h"
#include "trainer/model/param_store.h"

namespace frugal {

MlpLayer::MlpLayer(const ModelDimensions& dims, int index)
    : dims_(dims), name_(concat("model.layers.", index, ".mlp")) {}

double MlpLayer::cost() const {
  return 2.0 * static_cast<double>(dims_.tokens) * static_cast<double>(dims_.hidden) *
         static_cast<double>(dims_.intermediate) * (gated() ? 3.0 : 2.0);
}

void MlpLayer::declare(LayerBuilder& builder) {
  const std::string layer = name_.substr(0, name_.rfind('.'));
  const float residual_stddev =
      dims_.initializer_range / std::sqrt(2.0F * static_cast<float>(dims_.layers));
  const LinearSpec into{.in = dims_.hidden,
                        .out = dims_.intermediate,
                        .split = Split::kColumn,
                        .bias = dims_.mlp_bias,
                        .init_stddev = dims_.initializer_range};
  LinearSpec gate = into;
  LinearSpec up = into;
  gate.name = name_ + ".gate_proj";
  up.name = name_ + ".up_proj";
  norm_.declare(builder, dims_, layer + ".post_attention_layernorm");
  if (gated()) gate_proj_.declare(builder, dims_, gate);
  up_proj_.declare(builder, dims_, up);
  down_proj_.declare(builder, dims_,
                     {.name = name_ + ".down_proj",
                      .in = dims_.intermediate,
                      .out = dims_.hidden,
                      .split = Split::kRow,
                      .bias = dims_.mlp_bias,
                      .init_stddev = residual_stddev});

  const Shape local{dims_.local_tokens(), dims_.hidden};
  const Shape inner{dims_.tokens, dims_.local_intermediate()};
  const DType dtype = dims_.dtype;
  builder.keep_input(Lifetime::kForwardToWeight);
  norm_.declare_statistics(builder, dims_);
  normed_ = builder.stash("normed", local, dtype, Lifetime::kForwardToWeight);
  if (gated()) gate_ = builder.stash("gate", inner, dtype, Lifetime::kForwardToInput);
  up_ = builder.stash("up", inner, dtype, Lifetime::kForwardToInput);
  activated_ = builder.stash("activated", inner, dtype, Lifetime::kForwardToWeight);
  if (gated()) dgate_ = builder.stash("dgate", inner, dtype, Lifetime::kInputToWeight);
  dup_ = builder.stash("dup", inner, dtype, Lifetime::kInputToWeight);
  dnormed_ = builder.stash("dnormed", local, dtype, Lifetime::kInputToWeight);
}

void MlpLayer::forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash& stash) const {
  norm_.forward(ctx, stash[normed_], x, norm_.statistics(stash));
  {
    const Workspace::Mark mark(ctx.scratch);
    const ConstTensor normed = gather_tokens(ctx, stash[normed_]);
    if (gated()) {
      gate_proj_.forward(ctx, stash[gate_], normed);
      up_proj_.forward(ctx, stash[up_], normed);
      ops::swiglu_forward(ctx.compute, stash[activated_], stash[gate_], stash[up_]);
    } else {
      up_proj_.forward_gelu(ctx, stash[activated_], stash[up_], normed);
    }
  }
  down_proj_.forward_row(ctx, y, stash[activated_], x);
}

void MlpLayer::backward_input(LayerContext& ctx, ConstTensor dy, Tensor dx,
                              const Stash& stash) const {
  const Workspace::Mark mark(ctx.scratch);
  const ConstTensor gathered = gather_tokens(ctx, dy);
  const Tensor partial = partial_for(ctx, stash[dnormed_]);
  if (gated()) {
    const Tensor dactivated =
        ctx.scratch.allocate({dims_.tokens, dims_.local_intermediate()}, dims_.dtype);
    down_proj_.backward_input(ctx, dactivated, gathered, false);
    ops::swiglu_backward_input(ctx.compute, {.dgate_TI = stash[dgate_],
                                             .dup_TI = stash[dup_],
                                             .dout_TI = dactivated,
                                             .gate_TI = stash[gate_],
                                             .up_TI = stash[up_]});
    gate_proj_.backward_input(ctx, partial, stash[dgate_], false);
  } else {
    down_proj_.backward_input_gelu(ctx, stash[dup_], gathered, stash[up_]);
  }
  up_proj_.backward_input(ctx, partial, stash[dup_], gated());
  reduce_scatter_tokens(ctx, partial, stash[dnormed_]);
  norm_.backward_input(ctx,
                       {.dx_TD = dx, .dy_TD = stash[dnormed_], .x_TD = stash.input, .add_TD = dy},
                       norm_.statistics(stash));
}

void MlpLayer::backward_weight(LayerContext& ctx, const Stash& stash) const {
  const Workspace::Mark mark(ctx.scratch);
  const ConstTensor normed = gather_tokens(ctx, stash[normed_]);
  if (gated()) gate_proj_.backward_weight(ctx, stash[dgate_], normed, stash[dgate_]);
  up_proj_.backward_weight(ctx, stash[dup_], normed, stash[dup_]);
  down_proj_.backward_weight(ctx, gather_tokens(ctx, stash.output_gradient), stash[activated_],
                             stash.output_gradient);
  norm_.backward_weight(ctx, stash[dnormed_], stash.input, norm_.statistics(stash));
}

}  // namespace frugal
