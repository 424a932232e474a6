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

  const auto stash = [&](const char* name, Shape shape, Lifetime lifetime) {
    return builder.stash(name, shape, dims_.dtype, lifetime);
  };
  builder.keep_input(norm_.trained() ? Lifetime::kForwardToWeight : Lifetime::kForwardToInput);
  norm_.declare_statistics(builder, dims_);
  if (trains_inputs()) normed_ = stash("normed", outer(), Lifetime::kForwardToWeight);
  if (gated()) gate_ = stash("gate", inner(), Lifetime::kForwardToInput);
  up_ = stash("up", inner(), Lifetime::kForwardToInput);
  if (down_proj_.trained()) activated_ = stash("activated", inner(), Lifetime::kForwardToWeight);
  if (gate_proj_.trained() && gated()) dgate_ = stash("dgate", inner(), Lifetime::kInputToWeight);
  if (up_proj_.trained()) dup_ = stash("dup", inner(), Lifetime::kInputToWeight);
  if (norm_.trained()) dnormed_ = stash("dnormed", outer(), Lifetime::kInputToWeight);
}

void MlpLayer::forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash& stash) const {
  const Workspace::Mark mark(ctx.scratch);
  const Tensor activated = stashed_or_scratch(ctx, stash, activated_, inner(), dims_.dtype);
  {
    const Workspace::Mark inner_mark(ctx.scratch);
    const Tensor local = stashed_or_scratch(ctx, stash, normed_, outer(), dims_.dtype);
    norm_.forward(ctx, local, x, norm_.statistics(stash));
    const ConstTensor normed = gather_tokens(ctx, local);
    if (gated()) {
      Linear::forward_group(ctx, {{gate_proj_, stash[gate_]}, {up_proj_, stash[up_]}}, normed);
      ops::swiglu_forward(ctx.compute, activated, stash[gate_], stash[up_]);
    } else {
      up_proj_.forward_gelu(ctx, activated, stash[up_], normed);
    }
  }
  down_proj_.forward_row(ctx, y, activated, x);
}

void MlpLayer::backward_input(LayerContext& ctx, ConstTensor dy, Tensor dx,
                              const Stash& stash) const {
  const Workspace::Mark mark(ctx.scratch);
  const auto place = [&](StashId id, Shape shape) {
    return stashed_or_scratch(ctx, stash, id, shape, dims_.dtype);
  };
  const Tensor dup = place(dup_, inner()), dnormed = place(dnormed_, outer());
  const ConstTensor gathered = gather_tokens(ctx, dy);
  const Tensor partial = partial_for(ctx, dnormed);
  if (gated()) {
    const Tensor dgate = place(dgate_, inner());
    const Tensor dactivated = ctx.scratch.allocate(inner(), dims_.dtype);
    down_proj_.backward_input(ctx, dactivated, gathered, false);
    ops::swiglu_backward_input(ctx.compute, {.dgate_TI = dgate,
                                             .dup_TI = dup,
                                             .dout_TI = dactivated,
                                             .gate_TI = stash[gate_],
                                             .up_TI = stash[up_]});
    gate_proj_.backward_input(ctx, partial, dgate, false);
  } else {
    down_proj_.backward_input_gelu(ctx, dup, gathered, stash[up_]);
  }
  up_proj_.backward_input(ctx, partial, dup, gated());
  reduce_scatter_tokens(ctx, partial, dnormed);
  norm_.backward_input(ctx, {.dx_TD = dx, .dy_TD = dnormed, .x_TD = stash.input, .add_TD = dy},
                       norm_.statistics(stash));
}

void MlpLayer::backward_weight(LayerContext& ctx, const Stash& stash) const {
  const Workspace::Mark mark(ctx.scratch);
  if (trains_inputs()) {
    const ConstTensor normed = gather_tokens(ctx, stash[normed_]);
    if (gate_proj_.trained() && gated()) {
      gate_proj_.backward_weight(ctx, stash[dgate_], normed, stash[dgate_]);
    }
    if (up_proj_.trained()) up_proj_.backward_weight(ctx, stash[dup_], normed, stash[dup_]);
  }
  if (down_proj_.trained()) {
    down_proj_.backward_weight(ctx, gather_tokens(ctx, stash.output_gradient), stash[activated_],
                               stash.output_gradient);
  }
  if (norm_.trained()) {
    norm_.backward_weight(ctx, stash[dnormed_], stash.input, norm_.statistics(stash));
  }
}

}  // namespace frugal
