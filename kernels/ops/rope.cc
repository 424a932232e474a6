#include "kernels/ops/rope.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {
namespace {

void check_arguments(const ArgumentCheck& check, const Tensor& x_TNH,
                     const ConstTensor& cos_sin_S2P, const ConstTensor& positions_T) {
  check.rank("x_TNH", x_TNH, 3);
  check.tensor("x_TNH", x_TNH, x_TNH.shape, kFloats);
  check.rank("cos_sin_S2P", cos_sin_S2P, 3);
  const std::int64_t length = cos_sin_S2P.shape[0];
  const std::int64_t head = x_TNH.shape[2];
  check.tensor("cos_sin_S2P", cos_sin_S2P, {length, 2, head / 2}, {DType::kF32});
  check.require(head % 2 == 0, "the head dimension ", head, " is odd");
  check.tensor("positions_T", positions_T, {x_TNH.shape[0]}, {DType::kI32});
}

}  // namespace

void rope_forward(Stream& stream, Tensor x_TNH, ConstTensor cos_sin_S2P, ConstTensor positions_T) {
  check_arguments({stream, "rope_forward"}, x_TNH, cos_sin_S2P, positions_T);
  op_table(stream).rope_forward(stream, x_TNH, cos_sin_S2P, positions_T);
}

void rope_backward_input(Stream& stream, Tensor dx_TNH, ConstTensor cos_sin_S2P,
                         ConstTensor positions_T) {
  check_arguments({stream, "rope_backward_input"}, dx_TNH, cos_sin_S2P, positions_T);
  op_table(stream).rope_backward_input(stream, dx_TNH, cos_sin_S2P, positions_T);
}

}  // namespace frugal::ops
