#include "kernels/ops/op_table.h"

namespace frugal::ref {

void rope_forward(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::rope_forward is missing");
}

void rope_backward_input(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::rope_backward_input is missing");
}

}  // namespace frugal::ref
