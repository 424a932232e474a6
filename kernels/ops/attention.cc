#include "kernels/ops/op_table.h"

namespace frugal::ops {

void attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  op_table(stream).attention_forward(stream, args);
}

void attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  op_table(stream).attention_backward_input(stream, args);
}

}  // namespace frugal::ops
