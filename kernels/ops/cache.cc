#include "kernels/ops/cache.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {

void rows_store(Stream& stream, Tensor out_RD, ConstTensor rows_T, ConstTensor x_TD) {
  const ArgumentCheck check(stream, "rows_store");
  check.rank("x_TD", x_TD, 2);
  check.tensor("x_TD", x_TD, x_TD.shape, {x_TD.dtype});
  check.rank("out_RD", out_RD, 2);
  check.tensor("out_RD", out_RD, {out_RD.shape[0], x_TD.shape[1]}, {x_TD.dtype});
  check.tensor("rows_T", rows_T, {x_TD.shape[0]}, {DType::kI32});
  op_table(stream).rows_store(stream, out_RD, rows_T, x_TD);
}

void attention_cached_forward(Stream& stream, const AttentionCachedForwardArgs& args) {
  const ArgumentCheck check(stream, "attention_cached_forward");
  const ConstTensor& q = args.q_TNH;
  const ConstTensor& k = args.k_RMH;
  check.rank("q_TNH", q, 3);
  check.tensor("q_TNH", q, q.shape, kFloats);
  check.tensor("out_TNH", args.out_TNH, q.shape, {q.dtype});
  check.rank("k_RMH", k, 3);
  check.tensor("k_RMH", k, {k.shape[0], k.shape[1], q.shape[2]}, {q.dtype});
  check.tensor("v_RMH", args.v_RMH, k.shape, {q.dtype});
  check.tensor("first_row_T", args.first_row_T, {q.shape[0]}, {DType::kI32});
  check.tensor("last_row_T", args.last_row_T, {q.shape[0]}, {DType::kI32});
  check.require(k.shape[1] > 0 && q.shape[1] % k.shape[1] == 0, q.shape[1],
                " query heads are not a multiple of ", k.shape[1], " key heads");
  check.require(q.shape[2] <= kWidestCachedHead, "a head dimension of ", q.shape[2], "; at most ",
                kWidestCachedHead, " is possible");
  op_table(stream).attention_cached_forward(stream, args);
}

}  // namespace frugal::ops
