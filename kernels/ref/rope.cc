#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {
namespace {

void rotate(const Tensor& x, const ConstTensor& cos_sin, const ConstTensor& positions,
            double sign) {
  const std::int64_t heads = x.shape[1];
  const std::int64_t pairs = x.shape[2] / 2;
  for (std::int64_t t = 0; t < x.shape[0]; ++t) {
    const std::int64_t position = positions.as<std::int32_t>()[t];
    const std::int64_t row = position * 2 * pairs;
    for (std::int64_t n = 0; n < heads; ++n) {
      for (std::int64_t i = 0; i < pairs; ++i) {
        const std::int64_t first = (t * heads + n) * 2 * pairs + i;
        const double c = at(cos_sin, row + i);
        const double s = sign * at(cos_sin, row + pairs + i);
        const double x1 = at(x, first);
        const double x2 = at(x, first + pairs);
        put(x, first, x1 * c - x2 * s);
        put(x, first + pairs, x2 * c + x1 * s);
      }
    }
  }
}

}  // namespace

void rope_forward(Stream& stream, Tensor x, ConstTensor cos_sin, ConstTensor positions) {
  stream.run_host([=] { rotate(x, cos_sin, positions, 1.0); });
}

void rope_backward_input(Stream& stream, Tensor dx, ConstTensor cos_sin, ConstTensor positions) {
  stream.run_host([=] { rotate(dx, cos_sin, positions, -1.0); });
}

}  // namespace frugal::ref
