// Legend: T tokens, D model width. rstd and mean are f32; x, w, b, out share a dtype, f32,
// bf16 or f16, unless noted. All sums are accumulated in f32. Deterministic: yes, the same bits for
// any number of threads.
#pragma once

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

struct RmsNormBackwardInputArgs {
  Tensor dx_TD;  // written (=); may alias dy_TD or add_TD
  ConstTensor dy_TD;
  ConstTensor x_TD, w_D;
  ConstTensor rstd_T;
  // Optional: the gradient that arrives over the residual path, added to dx in f32.
  ConstTensor add_TD;
};

struct LayerNormForwardArgs {
  Tensor out_TD;          // written (=)
  Tensor mean_T, rstd_T;  // written (=)
  ConstTensor x_TD, w_D;
  ConstTensor b_D;  // optional
  float eps = 1e-5F;
};

struct LayerNormBackwardInputArgs {
  Tensor dx_TD;  // written (=); may alias dy_TD or add_TD
  ConstTensor dy_TD;
  ConstTensor x_TD, w_D;
  ConstTensor mean_T, rstd_T;
  ConstTensor add_TD;  // optional, as above
};

struct LayerNormBackwardWeightArgs {
  Tensor dw_D;  // f32, accumulated (+=)
  Tensor db_D;  // f32, accumulated (+=); data == nullptr: not wanted
  ConstTensor dy_TD, x_TD;
  ConstTensor mean_T, rstd_T;
};

namespace ops {

// out = x * rstd * w with rstd = 1 / sqrt(mean(x^2) + eps), row by row. out and rstd written (=);
// out may alias x.
void rms_norm_forward(Stream& stream, Tensor out_TD, Tensor rstd_T, ConstTensor x_TD,
                      ConstTensor w_D, float eps);

// dx = rstd * (g - xhat * mean(g * xhat)) + add with xhat = x * rstd, g = dy * w.
void rms_norm_backward_input(Stream& stream, const RmsNormBackwardInputArgs& args);

// dw_D (f32) += sum over T of dy * x * rstd.
void rms_norm_backward_weight(Stream& stream, Tensor dw_D, ConstTensor dy_TD, ConstTensor x_TD,
                              ConstTensor rstd_T);

// out = (x - mean) * rstd * w + b with rstd = 1 / sqrt(var(x) + eps), var with divisor D.
void layer_norm_forward(Stream& stream, const LayerNormForwardArgs& args);

// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) + add,
// with xhat = (x - mean) * rstd, g = dy * w.
void layer_norm_backward_input(Stream& stream, const LayerNormBackwardInputArgs& args);

// dw += sum over T of dy * xhat;  db += sum over T of dy.
void layer_norm_backward_weight(Stream& stream, const LayerNormBackwardWeightArgs& args);

}  // namespace ops
}  // namespace frugal
