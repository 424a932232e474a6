// Rotary position embedding (Su et al., arXiv 2104.09864), half-split pairing as in Hugging Face's
// Llama: element i of a head is paired with element i + H/2. Legend: T tokens (batch x sequence), N
// heads, H head dimension, S positions, P = H/2 pairs.
#pragma once

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal::ops {

// Rotates x in place: (x1, x2) -> (x1 c - x2 s, x2 c + x1 s).
//   x_TNH        f32, bf16 or f16; computed in f32
//   cos_sin_S2P  f32, [S, 2, P]: row 0 the cosines, row 1 the sines of one position
//   positions_T  i32, each in [0, S)
// REQUIRES: H even.   Deterministic: yes.
void rope_forward(Stream& stream, Tensor x_TNH, ConstTensor cos_sin_S2P, ConstTensor positions_T);

// The gradient: the rotation by the negative angle, in place.
void rope_backward_input(Stream& stream, Tensor dx_TNH, ConstTensor cos_sin_S2P,
                         ConstTensor positions_T);

}  // namespace frugal::ops
