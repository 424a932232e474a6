#include "kernels/ops/attention.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/attention_choice.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {
namespace {

// Of out or its gradient: a row of q's heads with v's dimension.
Shape out_shape(const ConstTensor& q_TNH, const ConstTensor& v_TMH) {
  return {q_TNH.shape[0], q_TNH.shape[1], v_TMH.shape[2]};
}

// What both directions read.
template <class Args>
void check_inputs(const ArgumentCheck& check, const Args& args) {
  const ConstTensor &q = args.q_TNH, &k = args.k_TMH, &v = args.v_TMH;
  check.rank("q_TNH", q, 3);
  check.rank("k_TMH", k, 3);
  check.rank("v_TMH", v, 3);
  const std::int64_t tokens = q.shape[0], heads = q.shape[1], kv_heads = k.shape[1];
  check.tensor("q_TNH", q, q.shape, kFloats);
  check.tensor("k_TMH", k, {tokens, kv_heads, q.shape[2]}, {q.dtype});
  check.tensor("v_TMH", v, {tokens, kv_heads, v.shape[2]}, {q.dtype});
  check.require(kv_heads > 0 && heads % kv_heads == 0, heads, " query heads do not share ",
                kv_heads, " key heads evenly");
  check.require(args.sequence_length > 0 && tokens % args.sequence_length == 0, tokens,
                " tokens are not whole sequences of ", args.sequence_length);
  check.tensor("lse_TN", args.lse_TN, {tokens, heads}, {DType::kF32});
  check.tensor("out_TNH", args.out_TNH, out_shape(q, v), {q.dtype});
  if (!given(args.document_start_T)) return;
  check.tensor("document_start_T", args.document_start_T, {tokens}, {DType::kI32});
}

}  // namespace

void attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  const ArgumentCheck check(stream, "attention_forward");
  check_inputs(check, args);
  if (stream.planning()) collect(planned_of(args));
  op_table(stream).attention_forward(stream, args);
}

void attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  const ArgumentCheck check(stream, "attention_backward_input");
  check_inputs(check, args);
  const DType dtype = args.q_TNH.dtype;
  check.tensor("dq_TNH", args.dq_TNH, args.q_TNH.shape, {dtype});
  check.tensor("dk_TMH", args.dk_TMH, args.k_TMH.shape, {dtype});
  check.tensor("dv_TMH", args.dv_TMH, args.v_TMH.shape, {dtype});
  check.tensor("dout_TNH", args.dout_TNH, out_shape(args.q_TNH, args.v_TMH), {dtype});
  if (stream.planning()) collect(planned_of(args));
  op_table(stream).attention_backward_input(stream, args);
}

}  // namespace frugal::ops
