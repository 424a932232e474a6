#include "kernels/ops/optimizer.h"

#include "kernels/core/stochastic_rounding.h"
#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {

void adamw_step(Stream& stream, std::span<const AdamwPiece> pieces, const AdamwScalars& scalars) {
  const ArgumentCheck check(stream, "adamw_step");
  for (const AdamwPiece& piece : pieces) {
    const AdamwPiece& first = pieces.front();
    const std::int64_t count = piece.weight_N.numel();
    const DType dtype = first.weight_N.dtype, state = first.m_N.dtype;
    check.elements("weight_N", piece.weight_N, count, {dtype});
    check.require(dtype == DType::kF32 || dtype == DType::kBF16 || given(piece.master_N),
                  "a weight in ", name_of(dtype), " needs master_N");
    check.require(given(piece.master_N) == given(first.master_N) &&
                      !(given(piece.master_N) && dtype == DType::kF32),
                  "master_N is of all 16-bit weights or of none");
    if (given(piece.master_N)) check.elements("master_N", piece.master_N, count, {DType::kF32});
    check.require(state == DType::kF32 || state == DType::kBF16, "m_N is ", name_of(state));
    check.elements("m_N", piece.m_N, count, {state});
    check.elements("v_N", piece.v_N, count, {state});
    check.elements("grad_N", piece.grad_N, count, {DType::kF32});
    check.require(piece.begin % kRoundingGroup == 0, "begins at element ", piece.begin);
  }
  op_table(stream).adamw_step(stream, pieces, scalars);
}

void block_sum_squares(Stream& stream, Tensor out_B, ConstTensor x_N, std::int64_t block) {
  const ArgumentCheck check(stream, "block_sum_squares");
  check.require(block > 0, "the block is ", block);
  check.elements("x_N", x_N, x_N.numel(), {DType::kF32});
  check.elements("out_B", out_B, (x_N.numel() + block - 1) / block, {DType::kF32});
  op_table(stream).block_sum_squares(stream, out_B, x_N, block);
}

}  // namespace frugal::ops
