#include <cmath>

#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"
#include "kernels/ref/gelu.h"

namespace frugal::ref {

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
    for (std::int64_t i = 0; i < out.numel(); ++i) put(out, i, gelu(at(x, i)));
  });
}

void gelu_backward_input(Stream& stream, Tensor dx, ConstTensor dout, ConstTensor x) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < dx.numel(); ++i) {
      put(dx, i, at(dout, i) * gelu_derivative(at(x, i)));
    }
  });
}

}  // namespace frugal::ref
