#include "kernels/ops/op_table.h"

namespace frugal::cpu {

void attention_forward(Stream&, const AttentionForwardArgs&) {
  FRUGAL_CHECK(false, "cpu::attention_forward is missing");
}

void attention_backward_input(Stream&, const AttentionBackwardArgs&) {
  FRUGAL_CHECK(false, "cpu::attention_backward_input is missing");
}

}  // namespace frugal::cpu
