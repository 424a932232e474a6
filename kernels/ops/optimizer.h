// Legend: N elements of one parameter's shard, B blocks.
#pragma once

#include <cstdint>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

struct AdamwArgs {
  Tensor weight_N;     // f32, bf16 or f16, written (=)
  Tensor master_N;     // f32, updated; data == nullptr when weight is f32 and is its own master
  Tensor m_N, v_N;     // f32, updated
  ConstTensor grad_N;  // f32
  float grad_scale = 1.0F;  // multiplies grad first: 1/tokens, clipping, loss unscaling
  float learning_rate = 0.0F;
  float beta1 = 0.9F, beta2 = 0.95F;
  float eps = 1e-8F;
  float weight_decay = 0.0F;      // decoupled: w -= lr * weight_decay * w
  float bias_correction1 = 1.0F;  // 1 - beta1^step
  float bias_correction2 = 1.0F;  // 1 - beta2^step
};

namespace ops {

// g = grad * grad_scale;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
// w = w - lr * (m / bias_correction1 / (sqrt(v / bias_correction2) + eps) + weight_decay * w), all
// in f32. Source: Loshchilov and Hutter, arXiv 1711.05101.   Deterministic: yes, element by
// element.
void adamw_step(Stream& stream, const AdamwArgs& args);

// out_B[b] (f32, =) = sum of squares of x_N (f32) over elements [b * block, (b + 1) * block), in
// double, in a fixed order. A non-finite element makes its block non-finite. Deterministic: yes,
// the same bits for any number of threads.
void block_sum_squares(Stream& stream, Tensor out_B, ConstTensor x_N, std::int64_t block);

}  // namespace ops
}  // namespace frugal
