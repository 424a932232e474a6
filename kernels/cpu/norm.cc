// Rows are independent in forward and input gradient; weight gradients sum fixed blocks of tokens,
// then the blocks in order.
#include "kernels/ops/norm.h"

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

// The pointers of one tensor's row t, or null when the tensor was not given.
template <class T>
const T* row_of(const ConstTensor& x_TD, std::int64_t t) {
  return given(x_TD) ? x_TD.as<T>() + t * x_TD.shape[1] : nullptr;
}

// Both norms' forward of row t; RMSNorm is the one without a mean.
template <class T, bool kCentred>
void normalise_row(const LayerNormForwardArgs& args, std::int64_t t) {
  const F32 d;
  const std::int64_t width = args.x_TD.shape[1];
  const auto n = static_cast<float>(width);
  const T* x = row_of<T>(args.x_TD, t);
  const T* w = args.w_D.as<T>();
  const T* b = given(args.b_D) ? args.b_D.as<T>() : nullptr;
  T* out = args.out_TD.as<T>() + t * width;
  float mean = 0.0F;
  if constexpr (kCentred) {
    mean = sum_vectors(width, [&](std::int64_t i, auto lanes) { return load(x + i, lanes); }) / n;
    args.mean_T.as<float>()[t] = mean;
  }
  const Vec centre = hn::Set(d, mean);
  const float squares = sum_vectors(width, [&](std::int64_t i, auto lanes) {
    const Vec v = hn::Sub(load(x + i, lanes), centre);
    return hn::Mul(v, v);
  });
  const float rstd = 1.0F / std::sqrt(squares / n + args.eps);
  args.rstd_T.as<float>()[t] = rstd;
  const Vec scale = hn::Set(d, rstd);
  for_vectors(0, width, [&](std::int64_t i, auto lanes) {
    const Vec xhat = hn::Mul(hn::Sub(load(x + i, lanes), centre), scale);
    const Vec bias = b != nullptr ? load(b + i, lanes) : hn::Zero(d);
    store(hn::MulAdd(xhat, load(w + i, lanes), bias), out + i, lanes);
  });
}

void norm_forward(const LayerNormForwardArgs& args) {
  visit_float(args.x_TD.dtype, [&]<class T>() {
    parallel_for(args.x_TD.shape[0], args.x_TD.shape[1], [&](std::int64_t t) {
      given(args.mean_T) ? normalise_row<T, true>(args, t) : normalise_row<T, false>(args, t);
    });
  });
}

// Both norms' input gradient of row t.
template <class T>
void input_gradient_row(const LayerNormBackwardInputArgs& args, std::int64_t t) {
  const F32 d;
  const std::int64_t width = args.x_TD.shape[1];
  const auto n = static_cast<float>(width);
  const T* dy = row_of<T>(args.dy_TD, t);
  const T* x = row_of<T>(args.x_TD, t);
  const T* w = args.w_D.as<T>();
  const T* add = row_of<T>(args.add_TD, t);
  T* dx = args.dx_TD.as<T>() + t * width;
  const bool centred = given(args.mean_T);
  const Vec mean = hn::Set(d, centred ? args.mean_T.as<float>()[t] : 0.0F);
  const Vec rstd = hn::Set(d, args.rstd_T.as<float>()[t]);
  const auto g = [&](std::int64_t i, auto lanes) {
    return hn::Mul(load(dy + i, lanes), load(w + i, lanes));
  };
  const auto xhat = [&](std::int64_t i, auto lanes) {
    return hn::Mul(hn::Sub(load(x + i, lanes), mean), rstd);
  };
  const Vec mean_g = hn::Set(d, centred ? sum_vectors(width, g) / n : 0.0F);
  const Vec mean_g_xhat = hn::Set(d, sum_vectors(width, [&](std::int64_t i, auto lanes) {
                                       return hn::Mul(g(i, lanes), xhat(i, lanes));
                                     }) / n);
  for_vectors(0, width, [&](std::int64_t i, auto lanes) {
    const Vec inner = hn::NegMulAdd(xhat(i, lanes), mean_g_xhat, hn::Sub(g(i, lanes), mean_g));
    const Vec residual = add != nullptr ? load(add + i, lanes) : hn::Zero(d);
    store(hn::MulAdd(rstd, inner, residual), dx + i, lanes);
  });
}

void norm_input_gradient(const LayerNormBackwardInputArgs& args) {
  visit_float(args.x_TD.dtype, [&]<class T>() {
    parallel_for(args.x_TD.shape[0], args.x_TD.shape[1],
                 [&](std::int64_t t) { input_gradient_row<T>(args, t); });
  });
}

// Adds tokens [begin, end) to sums: D of dw, then, if wanted, D of db.
template <class T>
void add_weight_gradient(const LayerNormBackwardWeightArgs& args, std::int64_t begin,
                         std::int64_t end, float* sums) {
  const F32 d;
  const std::int64_t width = args.x_TD.shape[1];
  float* db = given(args.db_D) ? sums + width : nullptr;
  for (std::int64_t t = begin; t < end; ++t) {
    const T* dy = row_of<T>(args.dy_TD, t);
    const T* x = row_of<T>(args.x_TD, t);
    const Vec mean = hn::Set(d, given(args.mean_T) ? args.mean_T.as<float>()[t] : 0.0F);
    const Vec rstd = hn::Set(d, args.rstd_T.as<float>()[t]);
    for_vectors(0, width, [&](std::int64_t i, auto lanes) {
      const Vec g = load(dy + i, lanes);
      const Vec xhat = hn::Mul(hn::Sub(load(x + i, lanes), mean), rstd);
      store(hn::MulAdd(g, xhat, load(sums + i, lanes)), sums + i, lanes);
      if (db != nullptr) store(hn::Add(g, load(db + i, lanes)), db + i, lanes);
    });
  }
}

void norm_weight_gradient(const LayerNormBackwardWeightArgs& args) {
  const std::int64_t width = args.x_TD.shape[1];
  const std::int64_t columns = given(args.db_D) ? 2 * width : width;
  visit_float(args.x_TD.dtype, [&]<class T>() {
    const auto sums = sum_over_tokens(args.x_TD.shape[0], columns,
                                      [&](std::int64_t begin, std::int64_t end, float* block) {
                                        add_weight_gradient<T>(args, begin, end, block);
                                      });
    for (std::int64_t i = 0; i < columns; ++i) {
      float* to = i < width ? args.dw_D.as<float>() + i : args.db_D.as<float>() + i - width;
      *to += sums[static_cast<std::size_t>(i)];
    }
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(norm_forward);
HWY_EXPORT(norm_input_gradient);
HWY_EXPORT(norm_weight_gradient);

void rms_norm_forward(Stream& stream, Tensor out, Tensor rstd, ConstTensor x, ConstTensor w,
                      float eps) {
  stream.run_host([=] {
    HWY_DYNAMIC_DISPATCH(norm_forward)
    ({.out_TD = out, .mean_T = {}, .rstd_T = rstd, .x_TD = x, .w_D = w, .b_D = {}, .eps = eps});
  });
}

void rms_norm_backward_input(Stream& stream, const RmsNormBackwardInputArgs& args) {
  stream.run_host([=] {
    HWY_DYNAMIC_DISPATCH(norm_input_gradient)
    ({.dx_TD = args.dx_TD,
      .dy_TD = args.dy_TD,
      .x_TD = args.x_TD,
      .w_D = args.w_D,
      .mean_T = {},
      .rstd_T = args.rstd_T,
      .add_TD = args.add_TD});
  });
}

void rms_norm_backward_weight(Stream& stream, Tensor dw, ConstTensor dy, ConstTensor x,
                              ConstTensor rstd) {
  stream.run_host([=] {
    HWY_DYNAMIC_DISPATCH(norm_weight_gradient)
    ({.dw_D = dw, .db_D = {}, .dy_TD = dy, .x_TD = x, .mean_T = {}, .rstd_T = rstd});
  });
}

void layer_norm_forward(Stream& stream, const LayerNormForwardArgs& args) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(norm_forward)(args); });
}

void layer_norm_backward_input(Stream& stream, const LayerNormBackwardInputArgs& args) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(norm_input_gradient)(args); });
}

void layer_norm_backward_weight(Stream& stream, const LayerNormBackwardWeightArgs& args) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(norm_weight_gradient)(args); });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
