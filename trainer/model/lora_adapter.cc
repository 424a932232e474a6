#include "trainer/model/lora_adapter.h"

#include <cmath>

#include "kernels/ops/elementwise.h"
#include "trainer/model/param_store.h"

namespace frugal {

void LoraAdapter::declare(LayerBuilder& builder, const LoraDimensions& lora,
                          const std::string& name, const ParamSpec& weight) {
  if (!lora.adapts(name)) return;
  const std::int64_t out = weight.global[0], in = weight.global[1], rank = lora.rank;
  scale_ = lora.scale;
  ParamSpec a{.name = name + ".lora_A.weight",
              .global = {rank, in},
              .local = {rank, weight.local[1]},
              .valid = {rank, weight.local[1]},
              .sharded = weight.local[1] != in,
              .decay = true,
              .adapter = true,
              .init = {ParamInit::Kind::kNormal, 1.0F / std::sqrt(3.0F * static_cast<float>(in))}};
  a.offset[1] = weight.offset[1];
  a_ = builder.param(a);
  ParamSpec b{.name = name + ".lora_B.weight",
              .global = {out, rank},
              .local = {weight.local[0], rank},
              .valid = {weight.local[0], rank},
              .sharded = weight.local[0] != out,
              .decay = true,
              .adapter = true};
  b.offset[0] = weight.offset[0];
  b_ = builder.param(b);
}

Tensor LoraAdapter::down(LayerContext& ctx, ConstTensor x_Ti) const {
  const Tensor a = ctx.params.weight(a_);
  const Tensor down = ctx.scratch.allocate({x_Ti.shape[0], a.shape[0]}, x_Ti.dtype);
  ctx.multiply({.out_MN = down, .a = x_Ti, .b = a, .transpose_b = true});
  ops::scale(ctx.compute, down, down, scale_);
  return down;
}

Tensor LoraAdapter::down_gradient(LayerContext& ctx, ConstTensor dy_To, WeightRows rows) const {
  const Tensor b = rows.of(ctx.params.weight(b_));
  const Tensor ddown = ctx.scratch.allocate({dy_To.shape[0], b.shape[1]}, dy_To.dtype);
  ctx.multiply({.out_MN = ddown, .a = dy_To, .b = b});
  ops::scale(ctx.compute, ddown, ddown, scale_);
  return ddown;
}

void LoraAdapter::forward(LayerContext& ctx, Tensor y_To, ConstTensor x_Ti, WeightRows rows) const {
  const Workspace::Mark mark(ctx.scratch);
  ctx.multiply({.out_MN = y_To,
                .a = down(ctx, x_Ti),
                .b = rows.of(ctx.params.weight(b_)),
                .transpose_b = true,
                .accumulate = true});
}

void LoraAdapter::backward_input(LayerContext& ctx, Tensor dx_Ti, ConstTensor dy_To,
                                 WeightRows rows) const {
  const Workspace::Mark mark(ctx.scratch);
  ctx.multiply({.out_MN = dx_Ti,
                .a = down_gradient(ctx, dy_To, rows),
                .b = ctx.params.weight(a_),
                .accumulate = true});
}

void LoraAdapter::backward_weight(LayerContext& ctx, ConstTensor dy_To, ConstTensor x_Ti,
                                  WeightRows rows) const {
  const Workspace::Mark mark(ctx.scratch);
  ctx.multiply({.out_MN = ctx.params.grad(a_),
                .a = down_gradient(ctx, dy_To, rows),
                .b = x_Ti,
                .transpose_a = true,
                .accumulate = true});
  ctx.multiply({.out_MN = rows.of(ctx.params.grad(b_)),
                .a = dy_To,
                .b = down(ctx, x_Ti),
                .transpose_a = true,
                .accumulate = true});
}

}  // namespace frugal
