// Keys and values of earlier tokens, kept for generation. Legend: T new tokens, R rows of the cache
// (each the key or value of one token), N query heads, M key/value heads, H head dimension. Query
// head n reads key/value head n / (N / M).
#pragma once

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

inline constexpr int kWidestCachedHead = 256;  // elements

struct AttentionCachedForwardArgs {
  Tensor out_TNH;                       // written (=)
  ConstTensor q_TNH;                    // f32, bf16 or f16, like out, k and v
  ConstTensor k_RMH, v_RMH;             // the cache, the new tokens' rows among them
  ConstTensor first_row_T, last_row_T;  // i32: the rows that a token sees, both ends included
  float scale = 1.0F;                   // usually 1 / sqrt(H)
};

namespace ops {

// out_RD[rows[t]] = x[t], byte for byte; a negative row stores nothing. x of any dtype, out like
// it. REQUIRES: the rows differ and are below R; out and x share no memory.   Deterministic: yes.
void rows_store(Stream& stream, Tensor out_RD, ConstTensor rows_T, ConstTensor x_TD);

// out = softmax(scale * q k^T over rows first .. last) v; 0 where last < first. Scores and sums in
// f32. REQUIRES: rows within the cache; N divisible by M; H at most kWidestCachedHead.
// Deterministic: yes, the same bits for any number of threads and whatever other tokens are in the
// call.
void attention_cached_forward(Stream& stream, const AttentionCachedForwardArgs& args);

}  // namespace ops
}  // namespace frugal
