// Legend: T tokens, I intermediate width. All tensors share a dtype, f32, bf16 or f16; computed in
// f32.
// Deterministic: yes.
#pragma once

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

struct SwigluBackwardArgs {
  Tensor dgate_TI, dup_TI;  // written (=); dgate may alias gate, dup may alias up
  ConstTensor dout_TI, gate_TI, up_TI;
};

namespace ops {

// out = silu(gate) * up with silu(g) = g / (1 + exp(-g)). Written (=); may alias gate or up.
void swiglu_forward(Stream& stream, Tensor out_TI, ConstTensor gate_TI, ConstTensor up_TI);
void swiglu_backward_input(Stream& stream, const SwigluBackwardArgs& args);

// out = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): GPT-2's "gelu_new". Written (=); may alias
// x.
void gelu_forward(Stream& stream, Tensor out_TI, ConstTensor x_TI);
// dx written (=); may alias dout or x.
void gelu_backward_input(Stream& stream, Tensor dx_TI, ConstTensor dout_TI, ConstTensor x_TI);

}  // namespace ops
}  // namespace frugal
