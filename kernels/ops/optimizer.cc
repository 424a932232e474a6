#include "kernels/ops/optimizer.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {

void adamw_step(Stream& stream, const AdamwArgs& args) {
  const ArgumentCheck check(stream, "adamw_step");
  const std::int64_t count = args.weight_N.numel();
  check.elements("weight_N", args.weight_N, count, kFloats);
  if (given(args.master_N)) check.elements("master_N", args.master_N, count, {DType::kF32});
  check.require(given(args.master_N) || args.weight_N.dtype == DType::kF32,
                "a bf16 weight needs master_N");
  check.elements("m_N", args.m_N, count, {DType::kF32});
  check.elements("v_N", args.v_N, count, {DType::kF32});
  check.elements("grad_N", args.grad_N, count, {DType::kF32});
  op_table(stream).adamw_step(stream, args);
}

void block_sum_squares(Stream& stream, Tensor out_B, ConstTensor x_N, std::int64_t block) {
  const ArgumentCheck check(stream, "block_sum_squares");
  check.require(block > 0, "the block is ", block);
  check.elements("x_N", x_N, x_N.numel(), {DType::kF32});
  check.elements("out_B", out_B, (x_N.numel() + block - 1) / block, {DType::kF32});
  op_table(stream).block_sum_squares(stream, out_B, x_N, block);
}

}  // namespace frugal::ops
