#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

namespace frugal::cpu {
namespace {

constexpr std::int64_t kBlock = 4096;
constexpr float kGeluScale = 0.79788456F;  // sqrt(2 / pi)
constexpr float kGeluCubic = 0.044715F;

template <class Fn>
void elementwise(Stream& stream, DType dtype, std::int64_t count, const Fn& fn) {
  stream.run_host([=] {
    visit_float(dtype, [&]<class T>() {
      parallel_blocks(count, kBlock, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) fn.template operator()<T>(i);
      });
    });
  });
}

float sigmoid(float x) {
  return 1.0F / (1.0F + std::exp(-x));
}

}  // namespace

void swiglu_forward(Stream& stream, Tensor out, ConstTensor gate, ConstTensor up) {
  elementwise(stream, out.dtype, out.numel(), [=]<class T>(std::int64_t i) {
    const auto g = static_cast<float>(gate.as<T>()[i]);
    out.as<T>()[i] = T(g * sigmoid(g) * static_cast<float>(up.as<T>()[i]));
  });
}

void swiglu_backward_input(Stream& stream, const SwigluBackwardArgs& args) {
  elementwise(stream, args.dout_TI.dtype, args.dout_TI.numel(), [=]<class T>(std::int64_t i) {
    const auto g = static_cast<float>(args.gate_TI.as<T>()[i]);
    const auto u = static_cast<float>(args.up_TI.as<T>()[i]);
    const auto d = static_cast<float>(args.dout_TI.as<T>()[i]);
    const float s = sigmoid(g);
    args.dgate_TI.as<T>()[i] = T(d * u * (s + g * s * (1.0F - s)));
    args.dup_TI.as<T>()[i] = T(d * g * s);
  });
}

void gelu_forward(Stream& stream, Tensor out, ConstTensor x) {
  elementwise(stream, out.dtype, out.numel(), [=]<class T>(std::int64_t i) {
    const auto v = static_cast<float>(x.as<T>()[i]);
    out.as<T>()[i] = T(0.5F * v * (1.0F + std::tanh(kGeluScale * (v + kGeluCubic * v * v * v))));
  });
}

void gelu_backward_input(Stream& stream, Tensor dx, ConstTensor dout, ConstTensor x) {
  elementwise(stream, dx.dtype, dx.numel(), [=]<class T>(std::int64_t i) {
    const auto v = static_cast<float>(x.as<T>()[i]);
    const float t = std::tanh(kGeluScale * (v + kGeluCubic * v * v * v));
    const float slope = kGeluScale * (1.0F + 3.0F * kGeluCubic * v * v);
    const float gradient = 0.5F * (1.0F + t) + 0.5F * v * (1.0F - t * t) * slope;
    dx.as<T>()[i] = T(static_cast<float>(dout.as<T>()[i]) * gradient);
  });
}

}  // namespace frugal::cpu
