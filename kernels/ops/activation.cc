#include "kernels/ops/activation.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {

void swiglu_forward(Stream& stream, Tensor out_TI, ConstTensor gate_TI, ConstTensor up_TI) {
  const ArgumentCheck check(stream, "swiglu_forward");
  check.tensor("out_TI", out_TI, out_TI.shape, kFloats);
  check.tensor("gate_TI", gate_TI, out_TI.shape, {out_TI.dtype});
  check.tensor("up_TI", up_TI, out_TI.shape, {out_TI.dtype});
  op_table(stream).swiglu_forward(stream, out_TI, gate_TI, up_TI);
}

void swiglu_backward_input(Stream& stream, const SwigluBackwardArgs& args) {
  const ArgumentCheck check(stream, "swiglu_backward_input");
  const ConstTensor& dout = args.dout_TI;
  check.tensor("dout_TI", dout, dout.shape, kFloats);
  check.tensor("dgate_TI", args.dgate_TI, dout.shape, {dout.dtype});
  check.tensor("dup_TI", args.dup_TI, dout.shape, {dout.dtype});
  check.tensor("gate_TI", args.gate_TI, dout.shape, {dout.dtype});
  check.tensor("up_TI", args.up_TI, dout.shape, {dout.dtype});
  op_table(stream).swiglu_backward_input(stream, args);
}

void gelu_forward(Stream& stream, Tensor out_TI, ConstTensor x_TI) {
  const ArgumentCheck check(stream, "gelu_forward");
  check.tensor("out_TI", out_TI, out_TI.shape, kFloats);
  check.tensor("x_TI", x_TI, out_TI.shape, {out_TI.dtype});
  op_table(stream).gelu_forward(stream, out_TI, x_TI);
}

void gelu_backward_input(Stream& stream, Tensor dx_TI, ConstTensor dout_TI, ConstTensor x_TI) {
  const ArgumentCheck check(stream, "gelu_backward_input");
  check.tensor("dx_TI", dx_TI, dx_TI.shape, kFloats);
  check.tensor("dout_TI", dout_TI, dx_TI.shape, {dx_TI.dtype});
  check.tensor("x_TI", x_TI, dx_TI.shape, {dx_TI.dtype});
  op_table(stream).gelu_backward_input(stream, dx_TI, dout_TI, x_TI);
}

}  // namespace frugal::ops
