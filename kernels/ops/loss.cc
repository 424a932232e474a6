#include "kernels/ops/loss.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {
namespace {

constexpr auto kF32 = DType::kF32;

void check_logits(const ArgumentCheck& check, const ConstTensor& logits, std::int64_t valid) {
  check.rank("logits_CV", logits, 2);
  check.tensor("logits_CV", logits, logits.shape, kFloats);
  check.require(valid >= 0 && valid <= logits.shape[1], "valid_columns is ", valid, ", of ",
                logits.shape[1]);
}

}  // namespace

void cross_entropy_statistics(Stream& stream, const CrossEntropyStatisticsArgs& args) {
  const ArgumentCheck check(stream, "cross_entropy_statistics");
  check_logits(check, args.logits_CV, args.valid_columns);
  const Shape tokens{args.logits_CV.shape[0]};
  check.tensor("max_C", args.max_C, tokens, {kF32});
  check.tensor("sum_exp_C", args.sum_exp_C, tokens, {kF32});
  check.tensor("target_logit_C", args.target_logit_C, tokens, {kF32});
  check.tensor("targets_C", args.targets_C, tokens, {DType::kI32});
  op_table(stream).cross_entropy_statistics(stream, args);
}

void cross_entropy_rescale(Stream& stream, Tensor sum_exp_C, ConstTensor local_max_C,
                           ConstTensor global_max_C) {
  const ArgumentCheck check(stream, "cross_entropy_rescale");
  check.rank("sum_exp_C", sum_exp_C, 1);
  check.tensor("sum_exp_C", sum_exp_C, sum_exp_C.shape, {kF32});
  check.tensor("local_max_C", local_max_C, sum_exp_C.shape, {kF32});
  check.tensor("global_max_C", global_max_C, sum_exp_C.shape, {kF32});
  op_table(stream).cross_entropy_rescale(stream, sum_exp_C, local_max_C, global_max_C);
}

void cross_entropy_loss(Stream& stream, const CrossEntropyLossArgs& args) {
  const ArgumentCheck check(stream, "cross_entropy_loss");
  const Shape& tokens = args.loss_C.shape;
  check.rank("loss_C", args.loss_C, 1);
  check.tensor("loss_C", args.loss_C, tokens, {kF32});
  check.tensor("max_C", args.max_C, tokens, {kF32});
  check.tensor("sum_exp_C", args.sum_exp_C, tokens, {kF32});
  check.tensor("target_logit_C", args.target_logit_C, tokens, {kF32});
  check.tensor("targets_C", args.targets_C, tokens, {DType::kI32});
  op_table(stream).cross_entropy_loss(stream, args);
}

void cross_entropy_backward_input(Stream& stream, const CrossEntropyBackwardArgs& args) {
  const ArgumentCheck check(stream, "cross_entropy_backward_input");
  check_logits(check, args.logits_CV, args.valid_columns);
  const Shape tokens{args.logits_CV.shape[0]};
  check.tensor("max_C", args.max_C, tokens, {kF32});
  check.tensor("sum_exp_C", args.sum_exp_C, tokens, {kF32});
  check.tensor("targets_C", args.targets_C, tokens, {DType::kI32});
  op_table(stream).cross_entropy_backward_input(stream, args);
}

}  // namespace frugal::ops
