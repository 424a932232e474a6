#include "kernels/ops/op_table.h"

namespace frugal::ops {

void rms_norm_forward(Stream& stream, Tensor out_TD, Tensor rstd_T, ConstTensor x_TD,
                      ConstTensor w_D, float eps) {
  op_table(stream).rms_norm_forward(stream, out_TD, rstd_T, x_TD, w_D, eps);
}

void rms_norm_backward_input(Stream& stream, const RmsNormBackwardInputArgs& args) {
  op_table(stream).rms_norm_backward_input(stream, args);
}

void rms_norm_backward_weight(Stream& stream, Tensor dw_D, ConstTensor dy_TD, ConstTensor x_TD,
                              ConstTensor rstd_T) {
  op_table(stream).rms_norm_backward_weight(stream, dw_D, dy_TD, x_TD, rstd_T);
}

void layer_norm_forward(Stream& stream, const LayerNormForwardArgs& args) {
  op_table(stream).layer_norm_forward(stream, args);
}

void layer_norm_backward_input(Stream& stream, const LayerNormBackwardInputArgs& args) {
  op_table(stream).layer_norm_backward_input(stream, args);
}

void layer_norm_backward_weight(Stream& stream, const LayerNormBackwardWeightArgs& args) {
  op_table(stream).layer_norm_backward_weight(stream, args);
}

}  // namespace frugal::ops
