#include "kernels/ops/op_table.h"

namespace frugal::ops {

void swiglu_forward(Stream& stream, Tensor out_TI, ConstTensor gate_TI, ConstTensor up_TI) {
  op_table(stream).swiglu_forward(stream, out_TI, gate_TI, up_TI);
}

void swiglu_backward_input(Stream& stream, const SwigluBackwardArgs& args) {
  op_table(stream).swiglu_backward_input(stream, args);
}

void gelu_forward(Stream& stream, Tensor out_TI, ConstTensor x_TI) {
  op_table(stream).gelu_forward(stream, out_TI, x_TI);
}

void gelu_backward_input(Stream& stream, Tensor dx_TI, ConstTensor dout_TI, ConstTensor x_TI) {
  op_table(stream).gelu_backward_input(stream, dx_TI, dout_TI, x_TI);
}

}  // namespace frugal::ops
