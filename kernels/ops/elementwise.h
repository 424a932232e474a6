// Legend: N elements, R rows (parts), T tokens. Deterministic: yes, the same bits for any number of
// threads.
#pragma once

#include <cstdint>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

// Which box of a two-dimensional global parameter a tensor is; numbers depend on global coordinates
// only.
struct NormalFillArgs {
  Tensor out_RC;          // f32, bf16 or f16, [rows, columns]
  std::uint64_t key = 0;  // kernels/core/rng.h: rng_key
  // Element (r, c) has index (row_begin + r) * global_columns + column_begin + c.
  std::int64_t row_begin = 0;
  std::int64_t column_begin = 0;
  std::int64_t global_columns = 0;
  float mean = 0.0F;
  float stddev = 1.0F;
};

namespace ops {

// out = a + b in f32, rounded to out's dtype. Same numel; all f32, bf16 or f16; out may alias
// either.
void add(Stream& stream, Tensor out, ConstTensor a, ConstTensor b);

// out = factor * x in f32, rounded to the dtype of both: f32, bf16 or f16. Same numel; out may
// alias x.
void scale(Stream& stream, Tensor out, ConstTensor x, float factor);

// out = x in another float dtype (f32 <-> bf16 or f16), round to nearest even; the same dtype
// copies.
void cast(Stream& stream, Tensor out, ConstTensor x);

// out = x byte for byte: same shape and dtype, any dtype. Each may lie on the stream's device or on
// the host (on the CPU that is the same); REQUIRES: no overlap, except that out may be x itself,
// and then nothing is done. As every op it only enqueues: host memory must stay valid and untouched
// until the stream has passed the call, and what arrives on the host may be read from then on.
void copy(Stream& stream, Tensor out, ConstTensor x);

// Every element = value (f32, bf16, f16) or the integer nearest to it (i32, u8).
void fill(Stream& stream, Tensor out, float value);

// out = mean + stddev * normal_at(key, global index), rounded to out's dtype.
void normal_fill(Stream& stream, const NormalFillArgs& args);

// out_N (=) = the rows of parts_RN added along one fixed binary tree: tree(a..b) = tree(a..m) +
// tree(m..b), where m - a is the largest power of two smaller than b - a. R >= 1; f32, bf16 or
// f16 (summed in f32, rounded once) or i32 (wraps), alike. out may alias row 0.
void tree_sum(Stream& stream, Tensor out_N, ConstTensor parts_RN);

// out_N (=) = the largest of the rows, R >= 1; f32, bf16, f16 or i32, alike. Where a row holds a
// NaN, so does out (a failed rank must not vanish in a maximum). out may alias row 0.
void max_rows(Stream& stream, Tensor out_N, ConstTensor parts_RN);

// out_1 (f32, +=) sum of x_N (f32), accumulated in double in a fixed order.
void sum_accumulate(Stream& stream, Tensor out_1, ConstTensor x_N);

// db_N (f32) += sum over T of dy_TN (f32, bf16 or f16): the gradient of a bias.
void bias_backward_weight(Stream& stream, Tensor db_N, ConstTensor dy_TN);

}  // namespace ops
}  // namespace frugal
