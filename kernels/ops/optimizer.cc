#include "kernels/ops/op_table.h"

namespace frugal::ops {

void adamw_step(Stream& stream, const AdamwArgs& args) {
  op_table(stream).adamw_step(stream, args);
}

void block_sum_squares(Stream& stream, Tensor out_B, ConstTensor x_N, std::int64_t block) {
  op_table(stream).block_sum_squares(stream, out_B, x_N, block);
}

}  // namespace frugal::ops
