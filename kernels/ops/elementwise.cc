#include "kernels/ops/elementwise.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {
namespace {

// parts is R >= 1 rows of out's elements.
void check_rows(const ArgumentCheck& check, const Tensor& out_N, const ConstTensor& parts_RN) {
  check.elements("out_N", out_N, out_N.numel(),
                 {DType::kF32, DType::kBF16, DType::kF16, DType::kI32});
  check.require(parts_RN.shape.rank >= 1 && parts_RN.shape[0] >= 1, "parts_RN has ",
                parts_RN.shape[0], " rows");
  check.elements("parts_RN", parts_RN, parts_RN.shape[0] * out_N.numel(), {out_N.dtype});
}

}  // namespace

void add(Stream& stream, Tensor out, ConstTensor a, ConstTensor b) {
  const ArgumentCheck check(stream, "add");
  check.elements("out", out, out.numel(), kFloats);
  check.elements("a", a, out.numel(), {out.dtype});
  check.elements("b", b, out.numel(), {out.dtype});
  op_table(stream).add(stream, out, a, b);
}

void scale(Stream& stream, Tensor out, ConstTensor x, float factor) {
  const ArgumentCheck check(stream, "scale");
  check.elements("out", out, out.numel(), kFloats);
  check.elements("x", x, out.numel(), {out.dtype});
  op_table(stream).scale(stream, out, x, factor);
}

void cast(Stream& stream, Tensor out, ConstTensor x) {
  const ArgumentCheck check(stream, "cast");
  check.elements("out", out, out.numel(), kFloats);
  check.elements("x", x, out.numel(), kFloats);
  check.one_is_f32("out", out, "x", x);
  op_table(stream).cast(stream, out, x);
}

void copy(Stream& stream, Tensor out, ConstTensor x) {
  const ArgumentCheck check(stream, "copy");
  check.moved("out", out, x.shape, x.dtype);
  check.moved("x", x, x.shape, x.dtype);
  if (out.data == x.data || x.numel() == 0) return;
  op_table(stream).copy(stream, out, x);
}

void fill(Stream& stream, Tensor out, float value) {
  const ArgumentCheck check(stream, "fill");
  check.elements("out", out, out.numel(),
                 {DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kU8});
  op_table(stream).fill(stream, out, value);
}

void normal_fill(Stream& stream, const NormalFillArgs& args) {
  const ArgumentCheck check(stream, "normal_fill");
  const Tensor& out = args.out_RC;
  check.rank("out_RC", out, 2);
  check.tensor("out_RC", out, out.shape, kFloats);
  check.require(args.row_begin >= 0 && args.column_begin >= 0 &&
                    args.column_begin + out.shape[1] <= args.global_columns,
                "columns [", args.column_begin, ", ", args.column_begin + out.shape[1],
                ") are not in a parameter of ", args.global_columns);
  op_table(stream).normal_fill(stream, args);
}

void tree_sum(Stream& stream, Tensor out_N, ConstTensor parts_RN) {
  check_rows({stream, "tree_sum"}, out_N, parts_RN);
  op_table(stream).tree_sum(stream, out_N, parts_RN);
}

void max_rows(Stream& stream, Tensor out_N, ConstTensor parts_RN) {
  check_rows({stream, "max_rows"}, out_N, parts_RN);
  op_table(stream).max_rows(stream, out_N, parts_RN);
}

void sum_accumulate(Stream& stream, Tensor out_1, ConstTensor x_N) {
  const ArgumentCheck check(stream, "sum_accumulate");
  check.elements("out_1", out_1, 1, {DType::kF32});
  check.elements("x_N", x_N, x_N.numel(), {DType::kF32});
  op_table(stream).sum_accumulate(stream, out_1, x_N);
}

void bias_backward_weight(Stream& stream, Tensor db_N, ConstTensor dy_TN) {
  const ArgumentCheck check(stream, "bias_backward_weight");
  check.rank("dy_TN", dy_TN, 2);
  check.tensor("dy_TN", dy_TN, dy_TN.shape, kFloats);
  check.tensor("db_N", db_N, {dy_TN.shape[1]}, {DType::kF32});
  op_table(stream).bias_backward_weight(stream, db_N, dy_TN);
}

}  // namespace frugal::ops
