#include "kernels/ops/rope.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {
namespace {

void check_arguments(const ArgumentCheck& check, const Tensor& x_TNH,
                     const ConstTensor& cos_sin_S2P) {
  check.rank("x_TNH", x_TNH, 3);
  check.tensor("x_TNH", x_TNH, x_TNH.shape, kFloats);
  check.rank("cos_sin_S2P", cos_sin_S2P, 3);
  const std::int64_t length = cos_sin_S2P.shape[0];
  const std::int64_t head = x_TNH.shape[2];
  check.tensor("cos_sin_S2P", cos_sin_S2P, {length, 2, head / 2}, {DType::kF32});
  check.require(head % 2 == 0, "the head dimension ", head, " is odd");
  check.require(length > 0 && x_TNH.shape[0] % length == 0, x_TNH.shape[0],
                " tokens are not whole sequences of ", length);
}

}  // namespace

void rope_forward(Stream& stream, Tensor x_TNH, ConstTensor cos_sin_S2P) {
  check_arguments({stream, "rope_forward"}, x_TNH, cos_sin_S2P);
  op_table(stream).rope_forward(stream, x_TNH, cos_sin_S2P);
}

void rope_backward_input(Stream& stream, Tensor dx_TNH, ConstTensor cos_sin_S2P) {
  check_arguments({stream, "rope_backward_input"}, dx_TNH, cos_sin_S2P);
  op_table(stream).rope_backward_input(stream, dx_TNH, cos_sin_S2P);
}

}  // namespace frugal::ops
