// Both activations are built on one sigmoid, since 0.5 (1 + tanh(u)) = sigmoid(2 u).
#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/exp_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

struct Sigmoid {
  Vec value;
  Vec complement;  // 1 - value, without cancellation
};

// Each within 4 units in the last place of the exact function of z (exp itself: 1), down to 1e-38,
// below which the smaller one stays near 1e-38.
HWY_INLINE Sigmoid sigmoid(Vec z) {
  const F32 d;
  const Vec one = hn::Set(d, 1.0F), limit = hn::Set(d, 87.0F);
  const Vec e = exp_in_range(hn::Neg(hn::Max(hn::Min(z, limit), hn::Neg(limit))));
  const Vec value = hn::Div(one, hn::Add(one, e));
  return {value, hn::Mul(e, value)};
}

// 2 sqrt(2/pi) (x + 0.044715 x^3): gelu(x) = x sigmoid(this).
constexpr float kGeluLinear = 1.5957691216F;
constexpr float kGeluCubic = 0.0713548162726F;

HWY_INLINE Vec gelu_argument(Vec x, Vec square) {
  const F32 d;
  return hn::Mul(x, hn::MulAdd(hn::Set(d, kGeluCubic), square, hn::Set(d, kGeluLinear)));
}

// Calls fn(i, lanes) over all vectors of `count` elements.
template <class Fn>
void elementwise(std::int64_t count, Fn fn) {
  parallel_blocks(count, kElementBlock,
                  [fn](std::int64_t begin, std::int64_t end) { for_vectors(begin, end, fn); });
}

void swiglu(const Tensor& out_TI, const ConstTensor& gate_TI, const ConstTensor& up_TI) {
  visit_float(out_TI.dtype, [&]<class T>() {
    const T *gate = gate_TI.as<T>(), *up = up_TI.as<T>();
    T* out = out_TI.as<T>();
    elementwise(out_TI.numel(), [=](std::int64_t i, auto lanes) {
      const Vec g = load(gate + i, lanes);
      store(hn::Mul(hn::Mul(g, sigmoid(g).value), load(up + i, lanes)), out + i, lanes);
    });
  });
}

void swiglu_gradient(const SwigluBackwardArgs& args) {
  visit_float(args.dout_TI.dtype, [&]<class T>() {
    const T *gate = args.gate_TI.as<T>(), *up = args.up_TI.as<T>(), *dout = args.dout_TI.as<T>();
    T *dgate = args.dgate_TI.as<T>(), *dup = args.dup_TI.as<T>();
    elementwise(args.dout_TI.numel(), [=](std::int64_t i, auto lanes) {
      const Vec g = load(gate + i, lanes);
      const Vec dy = load(dout + i, lanes);
      const Sigmoid s = sigmoid(g);
      // silu' = s (1 + g (1 - s))
      const Vec slope = hn::Mul(s.value, hn::MulAdd(g, s.complement, hn::Set(F32(), 1.0F)));
      store(hn::Mul(hn::Mul(dy, load(up + i, lanes)), slope), dgate + i, lanes);
      store(hn::Mul(dy, hn::Mul(g, s.value)), dup + i, lanes);
    });
  });
}

void gelu(const Tensor& out_N, const ConstTensor& x_N) {
  visit_float(out_N.dtype, [&]<class T>() {
    const T* x = x_N.as<T>();
    T* out = out_N.as<T>();
    elementwise(out_N.numel(), [=](std::int64_t i, auto lanes) {
      const Vec v = load(x + i, lanes);
      const Vec z = gelu_argument(v, hn::Mul(v, v));
      store(hn::Mul(v, sigmoid(z).value), out + i, lanes);
    });
  });
}

void gelu_gradient(const Tensor& dx_N, const ConstTensor& dout_N, const ConstTensor& x_N) {
  visit_float(dx_N.dtype, [&]<class T>() {
    const T *x = x_N.as<T>(), *dout = dout_N.as<T>();
    T* dx = dx_N.as<T>();
    elementwise(dx_N.numel(), [=](std::int64_t i, auto lanes) {
      const F32 d;
      const Vec v = load(x + i, lanes);
      const Vec square = hn::Mul(v, v);
      const Sigmoid s = sigmoid(gelu_argument(v, square));
      // gelu' = s + x s (1 - s) z' with z' = linear + 3 cubic x^2
      const Vec inner = hn::MulAdd(hn::Set(d, 3.0F * kGeluCubic), square, hn::Set(d, kGeluLinear));
      const Vec slope = hn::MulAdd(hn::Mul(v, s.value), hn::Mul(s.complement, inner), s.value);
      store(hn::Mul(load(dout + i, lanes), slope), dx + i, lanes);
    });
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(swiglu);
HWY_EXPORT(swiglu_gradient);
HWY_EXPORT(gelu);
HWY_EXPORT(gelu_gradient);

void swiglu_forward(Stream& stream, Tensor out, ConstTensor gate, ConstTensor up) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(swiglu)(out, gate, up); });
}

void swiglu_backward_input(Stream& stream, const SwigluBackwardArgs& args) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(swiglu_gradient)(args); });
}

void gelu_forward(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(gelu)(out, x); });
}

void gelu_backward_input(Stream& stream, Tensor dx, ConstTensor dout, ConstTensor x) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(gelu_gradient)(dx, dout, x); });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
