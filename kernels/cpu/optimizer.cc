#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

namespace frugal::cpu {
namespace {

constexpr std::int64_t kBlock = 16384;

template <class T>
void adamw_elements(const AdamwArgs& args, std::int64_t begin, std::int64_t end) {
  T* weight = args.weight_N.as<T>();
  float* master = args.master_N.data != nullptr ? args.master_N.as<float>() : nullptr;
  float* m = args.m_N.as<float>();
  float* v = args.v_N.as<float>();
  const float* grad = args.grad_N.as<float>();
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = grad[i] * args.grad_scale;
    m[i] = args.beta1 * m[i] + (1.0F - args.beta1) * g;
    v[i] = args.beta2 * v[i] + (1.0F - args.beta2) * g * g;
    const float mhat = m[i] / args.bias_correction1;
    const float vhat = v[i] / args.bias_correction2;
    float w = master != nullptr ? master[i] : static_cast<float>(weight[i]);
    w -= args.learning_rate * (mhat / (std::sqrt(vhat) + args.eps) + args.weight_decay * w);
    if (master != nullptr) master[i] = w;
    weight[i] = T(w);
  }
}

}  // namespace

void adamw_step(Stream& stream, const AdamwArgs& args) {
  stream.run_host([=] {
    visit_float(args.weight_N.dtype, [&]<class T>() {
      parallel_blocks(args.weight_N.numel(), kBlock, [&](std::int64_t begin, std::int64_t end) {
        adamw_elements<T>(args, begin, end);
      });
    });
  });
}

void block_sum_squares(Stream& stream, Tensor out, ConstTensor x, std::int64_t block) {
  stream.run_host([=] {
    parallel_for(out.numel(), [&](std::int64_t b) {
      const float* in = x.as<float>();
      double sum = 0.0;
      for (std::int64_t i = b * block; i < std::min(x.numel(), (b + 1) * block); ++i) {
        sum += static_cast<double>(in[i]) * static_cast<double>(in[i]);
      }
      out.as<float>()[b] = static_cast<float>(sum);
    });
  });
}

}  // namespace frugal::cpu
