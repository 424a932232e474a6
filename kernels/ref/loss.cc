#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {

void cross_entropy_statistics(Stream& stream, const CrossEntropyStatisticsArgs& args) {
  stream.run_host([=] {
    const std::int64_t columns = args.logits_CV.shape[1];
    for (std::int64_t c = 0; c < args.logits_CV.shape[0]; ++c) {
      double largest = -std::numeric_limits<double>::infinity();
      for (std::int64_t v = 0; v < args.valid_columns; ++v) {
        largest = std::max(largest, at(args.logits_CV, c * columns + v));
      }
      double sum = 0.0;
      for (std::int64_t v = 0; v < args.valid_columns; ++v) {
        sum += std::exp(at(args.logits_CV, c * columns + v) - largest);
      }
      const std::int64_t target = args.targets_C.as<std::int32_t>()[c] - args.column_begin;
      const bool here =
          args.targets_C.as<std::int32_t>()[c] >= 0 && target >= 0 && target < args.valid_columns;
      put(args.max_C, c, largest);
      put(args.sum_exp_C, c, sum);
      put(args.target_logit_C, c, here ? at(args.logits_CV, c * columns + target) : 0.0);
    }
  });
}

void cross_entropy_rescale(Stream& stream, Tensor sum_exp, ConstTensor local_max,
                           ConstTensor global_max) {
  stream.run_host([=] {
    for (std::int64_t c = 0; c < sum_exp.numel(); ++c) {
      put(sum_exp, c, at(sum_exp, c) * std::exp(at(local_max, c) - at(global_max, c)));
    }
  });
}

void cross_entropy_loss(Stream& stream, const CrossEntropyLossArgs& args) {
  stream.run_host([=] {
    for (std::int64_t c = 0; c < args.loss_C.numel(); ++c) {
      const bool ignored = args.targets_C.as<std::int32_t>()[c] < 0;
      put(args.loss_C, c,
          ignored
              ? 0.0
              : at(args.max_C, c) + std::log(at(args.sum_exp_C, c)) - at(args.target_logit_C, c));
    }
  });
}

void cross_entropy_backward_input(Stream& stream, const CrossEntropyBackwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t columns = args.logits_CV.shape[1];
    for (std::int64_t c = 0; c < args.logits_CV.shape[0]; ++c) {
      const std::int32_t target = args.targets_C.as<std::int32_t>()[c];
      for (std::int64_t v = 0; v < columns; ++v) {
        double gradient = 0.0;
        if (target >= 0 && v < args.valid_columns) {
          gradient = std::exp(at(args.logits_CV, c * columns + v) - at(args.max_C, c)) /
                     at(args.sum_exp_C, c);
          if (args.column_begin + v == target) gradient -= 1.0;
        }
        put(args.logits_CV, c * columns + v, gradient * static_cast<double>(args.scale));
      }
    }
  });
}

}  // namespace frugal::ref
