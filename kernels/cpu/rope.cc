#include "kernels/ops/rope.h"

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

template <class T>
void rotate_token(const Tensor& x_TNH, const ConstTensor& cos_sin_S2P, std::int64_t position,
                  float direction, std::int64_t t) {
  const std::int64_t heads = x_TNH.shape[1];
  const std::int64_t pairs = x_TNH.shape[2] / 2;
  const float* cosine = cos_sin_S2P.as<float>() + position * 2 * pairs;
  const float* sine = cosine + pairs;
  const Vec sign = hn::Set(F32(), direction);
  for (std::int64_t n = 0; n < heads; ++n) {
    T* first = x_TNH.as<T>() + (t * heads + n) * 2 * pairs;
    T* second = first + pairs;
    for_vectors(0, pairs, [&](std::int64_t i, auto lanes) {
      const Vec c = load(cosine + i, lanes);
      const Vec s = hn::Mul(sign, load(sine + i, lanes));
      const Vec x1 = load(first + i, lanes);
      const Vec x2 = load(second + i, lanes);
      store(hn::NegMulAdd(x2, s, hn::Mul(x1, c)), first + i, lanes);
      store(hn::MulAdd(x1, s, hn::Mul(x2, c)), second + i, lanes);
    });
  }
}

void rotate(const Tensor& x_TNH, const ConstTensor& cos_sin_S2P, const ConstTensor& positions_T,
            float direction) {
  const std::int32_t* positions = positions_T.as<std::int32_t>();
  visit_float(x_TNH.dtype, [&]<class T>() {
    parallel_for(x_TNH.shape[0], x_TNH.shape[1] * x_TNH.shape[2], [&](std::int64_t t) {
      rotate_token<T>(x_TNH, cos_sin_S2P, positions[t], direction, t);
    });
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(rotate);

void rope_forward(Stream& stream, Tensor x, ConstTensor cos_sin, ConstTensor positions) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(rotate)(x, cos_sin, positions, 1.0F); });
}

void rope_backward_input(Stream& stream, Tensor dx, ConstTensor cos_sin, ConstTensor positions) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(rotate)(dx, cos_sin, positions, -1.0F); });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
