#include "trainer/model/linear.h"

#include "kernels/ops/activation.h"
#include "kernels/ops/elementwise.h"
#include "trainer/model/param_store.h"

namespace frugal {

void Linear::declare(LayerBuilder& builder, const ModelDimensions& dims, const LinearSpec& spec) {
  const bool column = spec.split == Split::kColumn, row = spec.split == Split::kRow;
  const std::int64_t out = column ? spec.out / dims.tensor_size : spec.out;
  const std::int64_t in = row ? spec.in / dims.tensor_size : spec.in;
  rows_ = {spec.begin, spec.end};
  frozen_ = dims.lora.rank > 0;
  ParamSpec weight{.name = spec.name + ".weight",
                   .global = {spec.out, spec.in},
                   .local = {out, in},
                   .valid = {out, in},
                   .sharded = column || row,
                   .decay = true,
                   .init = {ParamInit::Kind::kNormal, spec.init_stddev}};
  if (column) weight.offset[0] = dims.tensor_rank * out;
  if (row) weight.offset[1] = dims.tensor_rank * in;
  weight_ = builder.param(weight);
  adapter_.declare(builder, dims.lora, spec.name, weight);
  if (!spec.bias) return;
  // A row-split output is added up before its bias, on each rank's own tokens: that bias is
  // replicated.
  ParamSpec bias{.name = spec.name + ".bias",
                 .global = {spec.out},
                 .local = {out},
                 .valid = {out},
                 .sharded = column};
  if (column) bias.offset[0] = dims.tensor_rank * out;
  bias_ = builder.param(bias);
}

ConstTensor Linear::bias(const LayerContext& ctx) const {
  return bias_ >= 0 ? ConstTensor(rows_.of(ctx.params.weight(bias_))) : ConstTensor();
}

MatmulArgs Linear::product(const LayerContext& ctx, Tensor y_To, ConstTensor x_TI) const {
  return {.out_MN = y_To,
          .a = x_TI,
          .b = rows_.of(ctx.params.weight(weight_)),
          .transpose_b = true,
          .bias_N = bias(ctx)};
}

void Linear::forward_group(LayerContext& ctx, std::initializer_list<Output> outputs,
                           ConstTensor x_TI) {
  std::vector<MatmulArgs> products;
  for (const Output& out : outputs) products.push_back(out.map.product(ctx, out.y_To, x_TI));
  ctx.multiply_group(products);
  for (const Output& out : outputs) {
    if (out.map.adapter_.declared()) out.map.adapter_.forward(ctx, out.y_To, x_TI, out.map.rows_);
  }
}

void Linear::forward_gelu(LayerContext& ctx, Tensor y_To, Tensor input_To, ConstTensor x_TI) const {
  if (adapter_.declared()) {
    forward_group(ctx, {{*this, input_To}}, x_TI);
    return ops::gelu_forward(ctx.compute, y_To, input_To);
  }
  MatmulArgs args = product(ctx, y_To, x_TI);
  args.gelu_input_MN = input_To;
  ctx.multiply(args);
}

void Linear::forward_row(LayerContext& ctx, Tensor y_LO, ConstTensor x_Ti,
                         ConstTensor residual_LO) const {
  const Workspace::Mark mark(ctx.scratch);
  const bool alone = ctx.tensor_group.size() == 1;
  const Tensor partial = partial_for(ctx, y_LO);
  // One rank's partial sum carries the bias, so that the sum has it once; the residual is of the
  // rank's own tokens.
  ctx.multiply({.out_MN = partial,
                .a = x_Ti,
                .b = ctx.params.weight(weight_),
                .transpose_b = true,
                .bias_N = ctx.tensor_group.rank() == 0 ? bias(ctx) : ConstTensor(),
                .add_MN = alone ? residual_LO : ConstTensor()});
  if (adapter_.declared()) adapter_.forward(ctx, partial, x_Ti, rows_);
  if (alone) return;
  reduce_scatter_tokens(ctx, partial, y_LO);
  ops::add(ctx.compute, y_LO, y_LO, residual_LO);
}

void Linear::backward_input(LayerContext& ctx, Tensor dx, ConstTensor dy, bool accumulate) const {
  ctx.multiply(
      {.out_MN = dx, .a = dy, .b = rows_.of(ctx.params.weight(weight_)), .accumulate = accumulate});
  if (adapter_.declared()) adapter_.backward_input(ctx, dx, dy, rows_);
}

void Linear::backward_input_gelu(LayerContext& ctx, Tensor dinput, ConstTensor dy,
                                 ConstTensor input) const {
  if (adapter_.declared()) {
    backward_input(ctx, dinput, dy, false);
    return ops::gelu_backward_input(ctx.compute, dinput, dinput, input);
  }
  ctx.multiply({.out_MN = dinput,
                .a = dy,
                .b = rows_.of(ctx.params.weight(weight_)),
                .dgelu_input_MN = input});
}

void Linear::backward_weight(LayerContext& ctx, ConstTensor dy, ConstTensor x,
                             ConstTensor dy_bias) const {
  if (adapter_.declared()) adapter_.backward_weight(ctx, dy, x, rows_);
  if (frozen_) return;
  ctx.multiply({.out_MN = rows_.of(ctx.params.grad(weight_)),
                .a = dy,
                .b = x,
                .transpose_a = true,
                .accumulate = true});
  if (bias_ >= 0) ops::bias_backward_weight(ctx.compute, rows_.of(ctx.params.grad(bias_)), dy_bias);
}

ConstTensor gather_tokens(LayerContext& ctx, ConstTensor x_LD) {
  const int size = ctx.tensor_group.size();
  if (size == 1) return x_LD;
  const Tensor all = ctx.scratch.allocate({x_LD.shape[0] * size, x_LD.shape[1]}, x_LD.dtype);
  ctx.tensor_group.all_gather(x_LD, all, ctx.compute);
  return all;
}

Tensor partial_for(LayerContext& ctx, Tensor out_LD) {
  const int size = ctx.tensor_group.size();
  if (size == 1) return out_LD;
  return ctx.scratch.allocate({out_LD.shape[0] * size, out_LD.shape[1]}, out_LD.dtype);
}

void reduce_scatter_tokens(LayerContext& ctx, ConstTensor partial_TD, Tensor out_LD) {
  if (ctx.tensor_group.size() == 1) return;
  ctx.tensor_group.reduce_scatter(partial_TD, out_LD, ReduceOp::kSum, ctx.compute);
}

}  // namespace frugal
