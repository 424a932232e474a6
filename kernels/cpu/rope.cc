#include "kernels/ops/op_table.h"

namespace frugal::cpu {

void rope_forward(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "cpu::rope_forward is missing");
}

void rope_backward_input(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "cpu::rope_backward_input is missing");
}

}  // namespace frugal::cpu
