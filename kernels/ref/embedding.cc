#include "kernels/ops/op_table.h"

namespace frugal::ref {

void embedding_forward(Stream&, const EmbeddingForwardArgs&) {
  FRUGAL_CHECK(false, "ref::embedding_forward is missing");
}

void embedding_backward_weight(Stream&, Tensor, ConstTensor, ConstTensor, std::int64_t) {
  FRUGAL_CHECK(false, "ref::embedding_backward_weight is missing");
}

}  // namespace frugal::ref
