#include "kernels/ops/op_table.h"

namespace frugal::ops {

void embedding_forward(Stream& stream, const EmbeddingForwardArgs& args) {
  op_table(stream).embedding_forward(stream, args);
}

void embedding_backward_weight(Stream& stream, Tensor dtable_VD, ConstTensor dy_TD,
                               ConstTensor ids_T, std::int64_t row_begin) {
  op_table(stream).embedding_backward_weight(stream, dtable_VD, dy_TD, ids_T, row_begin);
}

}  // namespace frugal::ops
