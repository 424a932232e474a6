#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

namespace frugal::cpu {
namespace {

template <class T>
void rotate_token(const Tensor& x, const ConstTensor& cos_sin, float sign, std::int64_t t) {
  const std::int64_t heads = x.shape[1];
  const std::int64_t pairs = x.shape[2] / 2;
  const float* cosine = cos_sin.as<float>() + t % cos_sin.shape[0] * 2 * pairs;
  const float* sine = cosine + pairs;
  for (std::int64_t n = 0; n < heads; ++n) {
    T* first = x.as<T>() + (t * heads + n) * 2 * pairs;
    T* second = first + pairs;
    for (std::int64_t i = 0; i < pairs; ++i) {
      const auto x1 = static_cast<float>(first[i]);
      const auto x2 = static_cast<float>(second[i]);
      const float s = sign * sine[i];
      first[i] = T(x1 * cosine[i] - x2 * s);
      second[i] = T(x2 * cosine[i] + x1 * s);
    }
  }
}

void rotate(Stream& stream, const Tensor& x, const ConstTensor& cos_sin, float sign) {
  stream.run_host([=] {
    visit_float(x.dtype, [&]<class T>() {
      parallel_for(x.shape[0], [&](std::int64_t t) { rotate_token<T>(x, cos_sin, sign, t); });
    });
  });
}

}  // namespace

void rope_forward(Stream& stream, Tensor x, ConstTensor cos_sin) {
  rotate(stream, x, cos_sin, 1.0F);
}
void rope_backward_input(Stream& stream, Tensor dx, ConstTensor cos_sin) {
  rotate(stream, dx, cos_sin, -1.0F);
}

}  // namespace frugal::cpu
