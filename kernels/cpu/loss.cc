#include "kernels/ops/op_table.h"

namespace frugal::cpu {

void cross_entropy_statistics(Stream&, const CrossEntropyStatisticsArgs&) {
  FRUGAL_CHECK(false, "cpu::cross_entropy_statistics is missing");
}

void cross_entropy_rescale(Stream&, Tensor, ConstTensor, ConstTensor) {
  FRUGAL_CHECK(false, "cpu::cross_entropy_rescale is missing");
}

void cross_entropy_loss(Stream&, const CrossEntropyLossArgs&) {
  FRUGAL_CHECK(false, "cpu::cross_entropy_loss is missing");
}

void cross_entropy_backward_input(Stream&, const CrossEntropyBackwardArgs&) {
  FRUGAL_CHECK(false, "cpu::cross_entropy_backward_input is missing");
}

}  // namespace frugal::cpu
