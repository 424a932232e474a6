#include "trainer/model/norm.h"

#include "kernels/ops/norm.h"
#include "trainer/model/param_store.h"

namespace frugal {

void Norm::declare(LayerBuilder& builder, const ModelDimensions& dims, const std::string& name) {
  declare(builder, {.name = name,
                    .width = dims.hidden,
                    .layer_norm = dims.layer_norm,
                    .eps = dims.norm_eps,
                    .frozen = dims.lora.rank > 0});
}

void Norm::declare(LayerBuilder& builder, const NormSpec& norm) {
  layer_norm_ = norm.layer_norm;
  frozen_ = norm.frozen;
  eps_ = norm.eps;
  const std::string& name = norm.name;
  const Shape shape{norm.width};
  ParamSpec spec{.name = name + ".weight", .global = shape, .local = shape, .valid = shape};
  spec.init.kind = ParamInit::Kind::kOne;
  weight_ = builder.param(spec);
  if (layer_norm_) {
    spec.name = name + ".bias";
    spec.init.kind = ParamInit::Kind::kZero;
    bias_ = builder.param(spec);
  }
}

void Norm::declare_statistics(LayerBuilder& builder, const ModelDimensions& dims) {
  declare_statistics(builder, dims.local_tokens());
}

void Norm::declare_statistics(LayerBuilder& builder, std::int64_t rows) {
  const Shape shape{rows};
  if (layer_norm_) mean_ = builder.stash("mean", shape, DType::kF32, Lifetime::kForwardToWeight);
  rstd_ = builder.stash("rstd", shape, DType::kF32, Lifetime::kForwardToWeight);
}

NormStatistics Norm::statistics(const Stash& stash) const {
  return {layer_norm_ ? stash[mean_] : Tensor{}, stash[rstd_]};
}

NormStatistics Norm::scratch_statistics(Workspace& scratch, std::int64_t tokens) const {
  return {layer_norm_ ? scratch.allocate({tokens}, DType::kF32) : Tensor{},
          scratch.allocate({tokens}, DType::kF32)};
}

void Norm::forward(LayerContext& ctx, Tensor out_TD, ConstTensor x_TD,
                   const NormStatistics& stats) const {
  if (!layer_norm_) {
    ops::rms_norm_forward(ctx.compute, out_TD, stats.rstd_T, x_TD, ctx.params.weight(weight_),
                          eps_);
    return;
  }
  ops::layer_norm_forward(ctx.compute, {.out_TD = out_TD,
                                        .mean_T = stats.mean_T,
                                        .rstd_T = stats.rstd_T,
                                        .x_TD = x_TD,
                                        .w_D = ctx.params.weight(weight_),
                                        .b_D = ctx.params.weight(bias_),
                                        .eps = eps_});
}

void Norm::backward_input(LayerContext& ctx, const NormBackward& args,
                          const NormStatistics& stats) const {
  if (!layer_norm_) {
    ops::rms_norm_backward_input(ctx.compute, {.dx_TD = args.dx_TD,
                                               .dy_TD = args.dy_TD,
                                               .x_TD = args.x_TD,
                                               .w_D = ctx.params.weight(weight_),
                                               .rstd_T = stats.rstd_T,
                                               .add_TD = args.add_TD});
    return;
  }
  ops::layer_norm_backward_input(ctx.compute, {.dx_TD = args.dx_TD,
                                               .dy_TD = args.dy_TD,
                                               .x_TD = args.x_TD,
                                               .w_D = ctx.params.weight(weight_),
                                               .mean_T = stats.mean_T,
                                               .rstd_T = stats.rstd_T,
                                               .add_TD = args.add_TD});
}

void Norm::backward_weight(LayerContext& ctx, ConstTensor dy_TD, ConstTensor x_TD,
                           const NormStatistics& stats) const {
  if (!layer_norm_) {
    ops::rms_norm_backward_weight(ctx.compute, ctx.params.grad(weight_), dy_TD, x_TD, stats.rstd_T);
    return;
  }
  ops::layer_norm_backward_weight(ctx.compute, {.dw_D = ctx.params.grad(weight_),
                                                .db_D = ctx.params.grad(bias_),
                                                .dy_TD = dy_TD,
                                                .x_TD = x_TD,
                                                .mean_T = stats.mean_T,
                                                .rstd_T = stats.rstd_T});
}

}  // namespace frugal
