#include "kernels/ops/embedding.h"

#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"

namespace frugal::ops {

void embedding_forward(Stream& stream, const EmbeddingForwardArgs& args) {
  const ArgumentCheck check(stream, "embedding_forward");
  const Tensor& out = args.out_TD;
  check.rank("out_TD", out, 2);
  check.tensor("out_TD", out, out.shape, kFloats);
  check.rank("table_VD", args.table_VD, 2);
  check.tensor("table_VD", args.table_VD, {args.table_VD.shape[0], out.shape[1]}, {out.dtype});
  check.tensor("ids_T", args.ids_T, {out.shape[0]}, {DType::kI32});
  op_table(stream).embedding_forward(stream, args);
}

void embedding_backward_weight(Stream& stream, Tensor dtable_VD, ConstTensor dy_TD,
                               ConstTensor ids_T, std::int64_t row_begin) {
  const ArgumentCheck check(stream, "embedding_backward_weight");
  check.rank("dy_TD", dy_TD, 2);
  check.tensor("dy_TD", dy_TD, dy_TD.shape, kFloats);
  check.rank("dtable_VD", dtable_VD, 2);
  check.tensor("dtable_VD", dtable_VD, {dtable_VD.shape[0], dy_TD.shape[1]}, {DType::kF32});
  check.tensor("ids_T", ids_T, {dy_TD.shape[0]}, {DType::kI32});
  op_table(stream).embedding_backward_weight(stream, dtable_VD, dy_TD, ids_T, row_begin);
}

}  // namespace frugal::ops
