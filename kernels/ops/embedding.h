// Legend: T tokens, D model width, V rows of this rank's part of the table.
#pragma once

#include <cstdint>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

struct EmbeddingForwardArgs {
  Tensor out_TD;               // f32, bf16 or f16
  ConstTensor table_VD;        // dtype of out
  ConstTensor ids_T;           // i32
  std::int64_t row_begin = 0;  // table row r holds id row_begin + r
  bool accumulate = false;     // += instead of =
};

namespace ops {

// out[t] = table[ids[t] - row_begin]; an id outside [row_begin, row_begin + V) contributes zeros.
// Deterministic: yes.
void embedding_forward(Stream& stream, const EmbeddingForwardArgs& args);

// dtable_VD (f32) += dy rows, summed per id in token order; ids outside the part are skipped.
// Deterministic: yes, no atomics, the same bits for any number of threads.
void embedding_backward_weight(Stream& stream, Tensor dtable_VD, ConstTensor dy_TD,
                               ConstTensor ids_T, std::int64_t row_begin);

}  // namespace ops
}  // namespace frugal
