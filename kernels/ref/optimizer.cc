#include <algorithm>
#include <cmath>

#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {

void adamw_step(Stream& stream, const AdamwArgs& args) {
  stream.run_host([=] {
    const Tensor master = args.master_N.data != nullptr ? args.master_N : args.weight_N;
    const auto beta1 = static_cast<double>(args.beta1);
    const auto beta2 = static_cast<double>(args.beta2);
    for (std::int64_t i = 0; i < args.weight_N.numel(); ++i) {
      const double g = at(args.grad_N, i) * static_cast<double>(args.grad_scale);
      const double m = beta1 * at(args.m_N, i) + (1.0 - beta1) * g;
      const double v = beta2 * at(args.v_N, i) + (1.0 - beta2) * g * g;
      const double mhat = m / static_cast<double>(args.bias_correction1);
      const double vhat = v / static_cast<double>(args.bias_correction2);
      const double update = mhat / (std::sqrt(vhat) + static_cast<double>(args.eps)) +
                            static_cast<double>(args.weight_decay) * at(master, i);
      put(args.m_N, i, m);
      put(args.v_N, i, v);
      put(master, i, at(master, i) - static_cast<double>(args.learning_rate) * update);
      put(args.weight_N, i, at(master, i));
    }
  });
}

void block_sum_squares(Stream& stream, Tensor out, ConstTensor x, std::int64_t block) {
  stream.run_host([=] {
    for (std::int64_t b = 0; b < out.numel(); ++b) {
      double sum = 0.0;
      for (std::int64_t i = b * block; i < std::min(x.numel(), (b + 1) * block); ++i)
        sum += at(x, i) * at(x, i);
      put(out, b, sum);
    }
  });
}

}  // namespace frugal::ref
