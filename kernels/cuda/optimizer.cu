#include "kernels/ops/optimizer.h"

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

template <class T>
struct Adamw {
  T* weight;
  float* master;  // the weight itself where that is float32
  float* m;
  float* v;
  const float* grad;
  std::int64_t count;
  float grad_scale, learning_rate, beta1, beta2, eps, weight_decay;
  float correction1, correction2;
};

template <int kSize, class T>
__device__ __forceinline__ void update(const Adamw<T>& a, std::int64_t i) {
  const auto grad = load<kSize>(a.grad + i);
  auto w = load<kSize>(a.master + i), m = load<kSize>(a.m + i), v = load<kSize>(a.v + i);
  Pack<T, kSize> weight;
#pragma unroll
  for (int e = 0; e < kSize; ++e) {
    const float g = grad.element[e] * a.grad_scale;
    m.element[e] = fmaf(a.beta1, m.element[e], (1.0F - a.beta1) * g);
    v.element[e] = fmaf(a.beta2, v.element[e], (1.0F - a.beta2) * g * g);
    const float root = sqrtf(v.element[e] / a.correction2) + a.eps;
    const float step = fmaf(a.weight_decay, w.element[e], m.element[e] / a.correction1 / root);
    w.element[e] = fmaf(-a.learning_rate, step, w.element[e]);
    weight.element[e] = from_float<T>(w.element[e]);
  }
  store(a.m + i, m);
  store(a.v + i, v);
  store(a.weight + i, weight);
  if constexpr (sizeof(T) < sizeof(float)) store(a.master + i, w);
}

template <int kSize, class T>
__global__ void adamw_kernel(Adamw<T> a) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kSize;
  if (i + kSize <= a.count) {
    update<kSize>(a, i);
  } else {
    for (std::int64_t tail = i; tail < a.count; ++tail) update<1>(a, tail);
  }
}

}  // namespace

void adamw_step(Stream& stream, const AdamwArgs& args) {
  visit_float(args.weight_N.dtype, [&]<class T>() {
    const Tensor& master = args.master_N.data != nullptr ? args.master_N : args.weight_N;
    const Adamw<T> a{.weight = args.weight_N.as<T>(),
                     .master = master.as<float>(),
                     .m = args.m_N.as<float>(),
                     .v = args.v_N.as<float>(),
                     .grad = args.grad_N.as<float>(),
                     .count = args.weight_N.numel(),
                     .grad_scale = args.grad_scale,
                     .learning_rate = args.learning_rate,
                     .beta1 = args.beta1,
                     .beta2 = args.beta2,
                     .eps = args.eps,
                     .weight_decay = args.weight_decay,
                     .correction1 = args.bias_correction1,
                     .correction2 = args.bias_correction2};
    const auto run = [&]<int kSize>() {
      launch(stream, "adamw_step", thread_for_each((a.count + kSize - 1) / kSize),
             adamw_kernel<kSize, T>, a);
    };
    // Tails are the kernel's; only addresses matter.
    fits_packs<T>(0, a.weight, a.master, a.m, a.v, a.grad) ? run.template operator()<4>()
                                                           : run.template operator()<1>();
  });
}

}  // namespace frugal::cu
