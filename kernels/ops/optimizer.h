// Legend: N elements of one parameter's shard, B blocks.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

// A run of elements of one parameter.
struct AdamwPiece {
  Tensor weight_N;     // f32, bf16 or f16, written (=)
  Tensor master_N;     // f32, updated; not given where the weight, f32 or bf16, is its own master
  Tensor m_N, v_N;     // f32 or bf16 alike, updated
  ConstTensor grad_N;  // f32
  float weight_decay = 0.0F;  // decoupled: w -= lr * weight_decay * w
  // Of stochastic rounding: a key for each parameter and step, and which element of what has the
  // key is the first of this piece, a multiple of kRoundingGroup.
  std::uint64_t rounding_key = 0;
  std::int64_t begin = 0;
};

struct AdamwScalars {
  float grad_scale = 1.0F;  // multiplies grad first: 1/tokens, clipping, loss unscaling
  float learning_rate = 0.0F;
  float beta1 = 0.9F, beta2 = 0.95F;
  float eps = 1e-8F;
  float bias_correction1 = 1.0F;  // 1 - beta1^step
  float bias_correction2 = 1.0F;  // 1 - beta2^step
};

// What of an element's update is rounded by chance: the purposes of rounding_noise().
inline constexpr std::uint64_t kWeightNoise = 0, kMNoise = 1, kVNoise = 2;

// Calls fn.template operator()<Weight, Master, State>() with the C++ types of a piece; Master is
// Weight where the weight is its own master.
template <class Fn>
void visit_adamw(const AdamwPiece& piece, Fn&& fn) {
  const auto with = [&]<class Weight, class Master>() {
    piece.m_N.dtype == DType::kBF16 ? fn.template operator()<Weight, Master, BFloat16>()
                                    : fn.template operator()<Weight, Master, float>();
  };
  const bool own_master = !given(piece.master_N);
  switch (piece.weight_N.dtype) {
    case DType::kF16:
      return with.template operator()<Float16, float>();
    case DType::kBF16:
      return own_master ? with.template operator()<BFloat16, BFloat16>()
                        : with.template operator()<BFloat16, float>();
    default:
      return with.template operator()<float, float>();
  }
}

namespace ops {

// Of every element of every piece, in f32:
// g = grad * grad_scale;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
// w = w - lr * (m / bias_correction1 / (sqrt(v / bias_correction2) + eps) + weight_decay * w).
// What is kept in bf16 from step to step (m, v, a weight without master) is rounded by chance
// (kernels/core/stochastic_rounding.h) when it is stored, after its use in this update; a weight
// with a master to nearest. To nearest, v would never fall again once (1 - beta2) v is less than
// half a step of bf16, as for beta2 = 0.999, and a weight would not see updates below 2^-9 of it.
// REQUIRES: all pieces have the same dtypes.   Deterministic: yes, element by element, wherever
// pieces are cut.   pieces: read before the call returns.
// Source: Loshchilov and Hutter, arXiv 1711.05101.
void adamw_step(Stream& stream, std::span<const AdamwPiece> pieces, const AdamwScalars& scalars);

// out_B[b] (f32, =) = sum of squares of x_N (f32) over elements [b * block, (b + 1) * block), in
// double, in a fixed order. A non-finite element makes its block non-finite. Deterministic: yes,
// the same bits for any number of threads.
void block_sum_squares(Stream& stream, Tensor out_B, ConstTensor x_N, std::int64_t block);

}  // namespace ops
}  // namespace frugal
