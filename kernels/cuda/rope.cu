// A pack of pairs for each thread.
#include "kernels/ops/rope.h"

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

template <class T>
struct Rotation {
  T* x;                           // [tokens, heads, 2 pairs]
  const float* cos_sin;           // [length, 2, pairs]
  const std::int32_t* positions;  // of the tokens
  std::int64_t count;             // of pairs in all
  std::int64_t heads, pairs;
  float direction;  // 1, or -1 for the rotation back
};

template <int kSize, class T>
__global__ void rope_kernel(Rotation<T> a) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kSize;
  if (i >= a.count) return;
  const std::int64_t pair = i % a.pairs, head = i / a.pairs;
  T* x = a.x + head * 2 * a.pairs + pair;
  const std::int64_t position = a.positions[head / a.heads];
  const float* cosines = a.cos_sin + position * 2 * a.pairs + pair;
  auto x1 = load<kSize>(x), x2 = load<kSize>(x + a.pairs);
#pragma unroll
  for (int e = 0; e < kSize; ++e) {
    const float c = cosines[e], s = cosines[a.pairs + e] * a.direction;
    const float v1 = to_float(x1.element[e]), v2 = to_float(x2.element[e]);
    x1.element[e] = from_float<T>(v1 * c - v2 * s);
    x2.element[e] = from_float<T>(v2 * c + v1 * s);
  }
  store(x, x1);
  store(x + a.pairs, x2);
}

void rotate(Stream& stream, std::string_view name, const Tensor& x, const ConstTensor& cos_sin,
            const ConstTensor& positions, float direction) {
  visit_float(x.dtype, [&]<class T>() {
    const Rotation<T> a{.x = x.as<T>(),
                        .cos_sin = cos_sin.as<float>(),
                        .positions = positions.as<std::int32_t>(),
                        .count = x.numel() / 2,
                        .heads = x.shape[1],
                        .pairs = x.shape[2] / 2,
                        .direction = direction};
    const auto run = [&]<int kSize>() {
      launch(stream, name, thread_for_each(a.count / kSize), rope_kernel<kSize, T>, a);
    };
    fits_packs<T>(a.pairs, a.x) ? run.template operator()<kWhole<T>>()
                                : run.template operator()<1>();
  });
}

}  // namespace

void rope_forward(Stream& stream, Tensor x, ConstTensor cos_sin, ConstTensor positions) {
  rotate(stream, "rope_forward", x, cos_sin, positions, 1.0F);
}

void rope_backward_input(Stream& stream, Tensor dx, ConstTensor cos_sin, ConstTensor positions) {
  rotate(stream, "rope_backward_input", dx, cos_sin, positions, -1.0F);
}

}  // namespace frugal::cu
