#include "kernels/ops/op_table.h"

namespace frugal::cpu {

void embedding_forward(Stream&, const EmbeddingForwardArgs&) {
  FRUGAL_CHECK(false, "cpu::embedding_forward is missing");
}

void embedding_backward_weight(Stream&, Tensor, ConstTensor, ConstTensor, std::int64_t) {
  FRUGAL_CHECK(false, "cpu::embedding_backward_weight is missing");
}

}  // namespace frugal::cpu
