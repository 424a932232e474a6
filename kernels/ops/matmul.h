// Legend: M, N, K sizes of one matrix product.
#pragma once

#include <span>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

struct MatmulArgs {
  Tensor out_MN;  // f32, bf16 or f16: a 16-bit dtype does not mix with the other one
  ConstTensor a;  // [M, K], or [K, M] when transpose_a
  ConstTensor b;  // [K, N], or [N, K] when transpose_b; same dtype as a, f32, bf16 or f16
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;  // += instead of =
  // Optional, dtype of a; added to every row. REQUIRES: not with accumulate or dgelu_input_MN.
  ConstTensor bias_N;
  // At most one of accumulate and these is given; in dtype of out, sharing no memory with it.
  ConstTensor add_MN;          // added to the result
  Tensor gelu_input_MN;        // written (=): what out is the GELU of (ops::gelu_forward)
  ConstTensor dgelu_input_MN;  // the product is multiplied by GELU's derivative here
  // Factors in f32 may be rounded to 10 bits of fraction (TensorFloat-32), where that is faster.
  bool tf32 = false;
};

namespace ops {

// out = op(a) op(b) + bias + add, or out += op(a) op(b), or out = gelu(gelu_input) with gelu_input
// = op(a) op(b) + bias, or out = op(a) op(b) gelu'(dgelu_input). Products and sums in f32, rounded
// once to out's dtype (when accumulating into 16 bits, after the old value was added in f32). GELU
// and its derivative multiply what they are given before or after that rounding, in f32, and in 16
// bits may err by as much as the hardware's tanh does (2^-11). REQUIRES: out aliases no input.
// Any size may be 0; K = 0 is a product of zeros. Deterministic: yes, the same bits for any number
// of threads.
void matmul(Stream& stream, const MatmulArgs& args);

// matmul of each, with its bits, in any order or at once: a few short products together take less
// time than one after the other. REQUIRES: none writes what another reads or writes.
void matmul_group(Stream& stream, std::span<const MatmulArgs> products);

}  // namespace ops
}  // namespace frugal
