// Causal attention, tiled: never stores a sequence-by-sequence matrix. Source: FlashAttention-2
// (arXiv 2307.08691). Legend: T tokens (batch x sequence, sequences of S one after the other), N
// query heads, M key/value heads, H head dimension: of q, k and their gradients one, of v, out and
// theirs maybe another. Query head n reads key/value head n / (N / M).
#pragma once

#include <cstdint>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

struct AttentionForwardArgs {
  Tensor out_TNH;  // written (=)
  Tensor lse_TN;   // f32, written (=): log of the sum of exp of the scaled, visible scores
  ConstTensor q_TNH, k_TMH, v_TMH;   // f32, bf16 or f16, like out
  ConstTensor document_start_T;      // optional, i32: position in its sequence where the token's
                                     // document starts
  std::int64_t sequence_length = 0;  // S; divides T
  float scale = 1.0F;                // usually 1 / sqrt(H of q)
};

struct AttentionBackwardArgs {
  Tensor dq_TNH, dk_TMH, dv_TMH;  // written (=), dtype and shape of q, k, v
  ConstTensor dout_TNH, q_TNH, k_TMH, v_TMH, out_TNH, lse_TN;
  ConstTensor document_start_T;
  std::int64_t sequence_length = 0;
  float scale = 1.0F;
};

namespace ops {

// out = softmax(scale * q k^T, visible) v. Position j is visible from i of the same sequence when
// document_start[i] <= j <= i (0 <= j <= i without documents). Scores and sums in f32.
// REQUIRES: N divisible by M; document_start does not fall along a sequence.   Deterministic: yes,
// the same bits for any number of threads.
void attention_forward(Stream& stream, const AttentionForwardArgs& args);

// Gradients of all three inputs. Probabilities are recomputed from q, k and lse. dk and dv of a
// key/value head sum over its query heads in head order. REQUIRES: dq, dk and dv share no memory
// with the others (dq serves as scratch until it is written). Deterministic: yes, the same bits for
// any number of threads.
void attention_backward_input(Stream& stream, const AttentionBackwardArgs& args);

}  // namespace ops
}  // namespace frugal
