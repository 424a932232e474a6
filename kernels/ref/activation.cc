#include <cmath>

#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {
namespace {

constexpr double kGeluScale = 0.7978845608028654;  // sqrt(2 / pi)
constexpr double kGeluCubic = 0.044715;

}  // namespace

void swiglu_forward(Stream& stream, Tensor out, ConstTensor gate, ConstTensor up) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      const double g = at(gate, i);
      put(out, i, g / (1.0 + std::exp(-g)) * at(up, i));
    }
  });
}

void swiglu_backward_input(Stream& stream, const SwigluBackwardArgs& args) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < args.dout_TI.numel(); ++i) {
      const double g = at(args.gate_TI, i);
      const double u = at(args.up_TI, i);
      const double d = at(args.dout_TI, i);
      const double s = 1.0 / (1.0 + std::exp(-g));
      put(args.dgate_TI, i, d * u * (s + g * s * (1.0 - s)));
      put(args.dup_TI, i, d * g * s);
    }
  });
}

void gelu_forward(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      const double v = at(x, i);
      put(out, i, 0.5 * v * (1.0 + std::tanh(kGeluScale * (v + kGeluCubic * v * v * v))));
    }
  });
}

void gelu_backward_input(Stream& stream, Tensor dx, ConstTensor dout, ConstTensor x) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < dx.numel(); ++i) {
      const double v = at(x, i);
      const double t = std::tanh(kGeluScale * (v + kGeluCubic * v * v * v));
      const double slope = kGeluScale * (1.0 + 3.0 * kGeluCubic * v * v);
      put(dx, i, at(dout, i) * (0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * slope));
    }
  });
}

}  // namespace frugal::ref
