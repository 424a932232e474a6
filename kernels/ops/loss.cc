#include "kernels/ops/op_table.h"

namespace frugal::ops {

void cross_entropy_statistics(Stream& stream, const CrossEntropyStatisticsArgs& args) {
  op_table(stream).cross_entropy_statistics(stream, args);
}

void cross_entropy_rescale(Stream& stream, Tensor sum_exp_C, ConstTensor local_max_C,
                           ConstTensor global_max_C) {
  op_table(stream).cross_entropy_rescale(stream, sum_exp_C, local_max_C, global_max_C);
}

void cross_entropy_loss(Stream& stream, const CrossEntropyLossArgs& args) {
  op_table(stream).cross_entropy_loss(stream, args);
}

void cross_entropy_backward_input(Stream& stream, const CrossEntropyBackwardArgs& args) {
  op_table(stream).cross_entropy_backward_input(stream, args);
}

}  // namespace frugal::ops
