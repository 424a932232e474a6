#include "kernels/ops/op_table.h"

namespace frugal::ops {

void rope_forward(Stream& stream, Tensor x_TNH, ConstTensor cos_sin_S2P) {
  op_table(stream).rope_forward(stream, x_TNH, cos_sin_S2P);
}

void rope_backward_input(Stream& stream, Tensor dx_TNH, ConstTensor cos_sin_S2P) {
  op_table(stream).rope_backward_input(stream, dx_TNH, cos_sin_S2P);
}

}  // namespace frugal::ops
