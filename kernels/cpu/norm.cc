#include "kernels/ops/op_table.h"

namespace frugal::cpu {

void rms_norm_forward(Stream&, Tensor, Tensor, ConstTensor, ConstTensor, float) {
  FRUGAL_CHECK(false, "cpu::rms_norm_forward is missing");
}

void rms_norm_backward_input(Stream&, const RmsNormBackwardInputArgs&) {
  FRUGAL_CHECK(false, "cpu::rms_norm_backward_input is missing");
}

void rms_norm_backward_weight(Stream&, Tensor, ConstTensor, ConstTensor, ConstTensor) {
  FRUGAL_CHECK(false, "cpu::rms_norm_backward_weight is missing");
}

void layer_norm_forward(Stream&, const LayerNormForwardArgs&) {
  FRUGAL_CHECK(false, "cpu::layer_norm_forward is missing");
}

void layer_norm_backward_input(Stream&, const LayerNormBackwardInputArgs&) {
  FRUGAL_CHECK(false, "cpu::layer_norm_backward_input is missing");
}

void layer_norm_backward_weight(Stream&, const LayerNormBackwardWeightArgs&) {
  FRUGAL_CHECK(false, "cpu::layer_norm_backward_weight is missing");
}

}  // namespace frugal::cpu
