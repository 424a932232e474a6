#include "kernels/ops/norm.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {
namespace {

constexpr auto kF32 = DType::kF32;

// x is [T, D], f32, bf16 or f16; w and each further row tensor are like x.
void check_x(const ArgumentCheck& check, const ConstTensor& x_TD) {
  check.rank("x_TD", x_TD, 2);
  check.tensor("x_TD", x_TD, x_TD.shape, kFloats);
}

}  // namespace

void rms_norm_forward(Stream& stream, Tensor out_TD, Tensor rstd_T, ConstTensor x_TD,
                      ConstTensor w_D, float eps) {
  const ArgumentCheck check(stream, "rms_norm_forward");
  check_x(check, x_TD);
  check.tensor("out_TD", out_TD, x_TD.shape, {x_TD.dtype});
  check.tensor("rstd_T", rstd_T, {x_TD.shape[0]}, {kF32});
  check.tensor("w_D", w_D, {x_TD.shape[1]}, {x_TD.dtype});
  op_table(stream).rms_norm_forward(stream, out_TD, rstd_T, x_TD, w_D, eps);
}

void rms_norm_backward_input(Stream& stream, const RmsNormBackwardInputArgs& args) {
  const ArgumentCheck check(stream, "rms_norm_backward_input");
  const ConstTensor& x = args.x_TD;
  check_x(check, x);
  check.tensor("dx_TD", args.dx_TD, x.shape, {x.dtype});
  check.tensor("dy_TD", args.dy_TD, x.shape, {x.dtype});
  check.tensor("w_D", args.w_D, {x.shape[1]}, {x.dtype});
  check.tensor("rstd_T", args.rstd_T, {x.shape[0]}, {kF32});
  if (given(args.add_TD)) check.tensor("add_TD", args.add_TD, x.shape, {x.dtype});
  op_table(stream).rms_norm_backward_input(stream, args);
}

void rms_norm_backward_weight(Stream& stream, Tensor dw_D, ConstTensor dy_TD, ConstTensor x_TD,
                              ConstTensor rstd_T) {
  const ArgumentCheck check(stream, "rms_norm_backward_weight");
  check_x(check, x_TD);
  check.tensor("dw_D", dw_D, {x_TD.shape[1]}, {kF32});
  check.tensor("dy_TD", dy_TD, x_TD.shape, {x_TD.dtype});
  check.tensor("rstd_T", rstd_T, {x_TD.shape[0]}, {kF32});
  op_table(stream).rms_norm_backward_weight(stream, dw_D, dy_TD, x_TD, rstd_T);
}

void layer_norm_forward(Stream& stream, const LayerNormForwardArgs& args) {
  const ArgumentCheck check(stream, "layer_norm_forward");
  const ConstTensor& x = args.x_TD;
  check_x(check, x);
  check.tensor("out_TD", args.out_TD, x.shape, {x.dtype});
  check.tensor("mean_T", args.mean_T, {x.shape[0]}, {kF32});
  check.tensor("rstd_T", args.rstd_T, {x.shape[0]}, {kF32});
  check.tensor("w_D", args.w_D, {x.shape[1]}, {x.dtype});
  if (given(args.b_D)) check.tensor("b_D", args.b_D, {x.shape[1]}, {x.dtype});
  op_table(stream).layer_norm_forward(stream, args);
}

void layer_norm_backward_input(Stream& stream, const LayerNormBackwardInputArgs& args) {
  const ArgumentCheck check(stream, "layer_norm_backward_input");
  const ConstTensor& x = args.x_TD;
  check_x(check, x);
  check.tensor("dx_TD", args.dx_TD, x.shape, {x.dtype});
  check.tensor("dy_TD", args.dy_TD, x.shape, {x.dtype});
  check.tensor("w_D", args.w_D, {x.shape[1]}, {x.dtype});
  check.tensor("mean_T", args.mean_T, {x.shape[0]}, {kF32});
  check.tensor("rstd_T", args.rstd_T, {x.shape[0]}, {kF32});
  if (given(args.add_TD)) check.tensor("add_TD", args.add_TD, x.shape, {x.dtype});
  op_table(stream).layer_norm_backward_input(stream, args);
}

void layer_norm_backward_weight(Stream& stream, const LayerNormBackwardWeightArgs& args) {
  const ArgumentCheck check(stream, "layer_norm_backward_weight");
  const ConstTensor& x = args.x_TD;
  check_x(check, x);
  check.tensor("dw_D", args.dw_D, {x.shape[1]}, {kF32});
  if (given(args.db_D)) check.tensor("db_D", args.db_D, {x.shape[1]}, {kF32});
  check.tensor("dy_TD", args.dy_TD, x.shape, {x.dtype});
  check.tensor("mean_T", args.mean_T, {x.shape[0]}, {kF32});
  check.tensor("rstd_T", args.rstd_T, {x.shape[0]}, {kF32});
  op_table(stream).layer_norm_backward_weight(stream, args);
}

}  // namespace frugal::ops
