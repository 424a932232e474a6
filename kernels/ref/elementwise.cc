#include "kernels/ops/op_table.h"

namespace frugal::ref {

void add(Stream&, Tensor, ConstTensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::add is missing");
}

void cast(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::cast is missing");
}

void fill(Stream&, Tensor, float) {
  FRUGAL_CHECK(false, "ref::fill is missing");
}

void normal_fill(Stream&, const NormalFillArgs&) {
  FRUGAL_CHECK(false, "ref::normal_fill is missing");
}

void tree_sum(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::tree_sum is missing");
}

void max_rows(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::max_rows is missing");
}

void sum_accumulate(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::sum_accumulate is missing");
}

void bias_backward_weight(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "ref::bias_backward_weight is missing");
}

}  // namespace frugal::ref
