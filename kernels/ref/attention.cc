#include "kernels/ops/op_table.h"

namespace frugal::ref {

void attention_forward(Stream&, const AttentionForwardArgs&) {
  FRUGAL_CHECK(false, "ref::attention_forward is missing");
}

void attention_backward_input(Stream&, const AttentionBackwardArgs&) {
  FRUGAL_CHECK(false, "ref::attention_backward_input is missing");
}

}  // namespace frugal::ref
