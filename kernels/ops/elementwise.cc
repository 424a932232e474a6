#include "kernels/ops/op_table.h"

namespace frugal::ops {

void add(Stream& stream, Tensor out, ConstTensor a, ConstTensor b) {
  op_table(stream).add(stream, out, a, b);
}

void cast(Stream& stream, Tensor out, ConstTensor x) {
  op_table(stream).cast(stream, out, x);
}

void fill(Stream& stream, Tensor out, float value) {
  op_table(stream).fill(stream, out, value);
}

void normal_fill(Stream& stream, const NormalFillArgs& args) {
  op_table(stream).normal_fill(stream, args);
}

void tree_sum(Stream& stream, Tensor out_N, ConstTensor parts_RN) {
  op_table(stream).tree_sum(stream, out_N, parts_RN);
}

void max_rows(Stream& stream, Tensor out_N, ConstTensor parts_RN) {
  op_table(stream).max_rows(stream, out_N, parts_RN);
}

void sum_accumulate(Stream& stream, Tensor out_1, ConstTensor x_N) {
  op_table(stream).sum_accumulate(stream, out_1, x_N);
}

void bias_backward_weight(Stream& stream, Tensor db_N, ConstTensor dy_TN) {
  op_table(stream).bias_backward_weight(stream, db_N, dy_TN);
}

}  // namespace frugal::ops
