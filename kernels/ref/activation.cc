#include "kernels/ops/op_table.h"

namespace frugal::ref {

void swiglu_forward(Stream&, Tensor, ConstTensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::swiglu_forward is missing");
}

void swiglu_backward_input(Stream&, const SwigluBackwardArgs&) {
  FRUGAL_CHECK(false, "ref::swiglu_backward_input is missing");
}

void gelu_forward(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::gelu_forward is missing");
}

void gelu_backward_input(Stream&, Tensor, ConstTensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::gelu_backward_input is missing");
}

}  // namespace frugal::ref
