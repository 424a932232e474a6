#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

namespace frugal::cpu {
namespace {

// Sixteen fixed lanes, so that the sum vectorises and its order is fixed.
template <class T>
float sum_of_exp(const T* row, std::int64_t count, float largest) {
  float lanes[16] = {};
  for (std::int64_t v = 0; v < count; ++v)
    lanes[v % 16] += std::exp(static_cast<float>(row[v]) - largest);
  float sum = 0.0F;
  for (const float lane : lanes) sum += lane;
  return sum;
}

}  // namespace

void cross_entropy_statistics(Stream& stream, const CrossEntropyStatisticsArgs& args) {
  stream.run_host([=] {
    const std::int64_t columns = args.logits_CV.shape[1];
    visit_float(args.logits_CV.dtype, [&]<class T>() {
      parallel_for(args.logits_CV.shape[0], [&](std::int64_t c) {
        const T* row = args.logits_CV.as<T>() + c * columns;
        float largest = -std::numeric_limits<float>::infinity();
        for (std::int64_t v = 0; v < args.valid_columns; ++v)
          largest = std::max(largest, static_cast<float>(row[v]));
        const std::int32_t id = args.targets_C.as<std::int32_t>()[c];
        const std::int64_t target = id - args.column_begin;
        const bool here = id >= 0 && target >= 0 && target < args.valid_columns;
        args.max_C.as<float>()[c] = largest;
        args.sum_exp_C.as<float>()[c] = sum_of_exp(row, args.valid_columns, largest);
        args.target_logit_C.as<float>()[c] = here ? static_cast<float>(row[target]) : 0.0F;
      });
    });
  });
}

void cross_entropy_rescale(Stream& stream, Tensor sum_exp, ConstTensor local_max,
                           ConstTensor global_max) {
  stream.run_host([=] {
    for (std::int64_t c = 0; c < sum_exp.numel(); ++c) {
      sum_exp.as<float>()[c] *= std::exp(local_max.as<float>()[c] - global_max.as<float>()[c]);
    }
  });
}

void cross_entropy_loss(Stream& stream, const CrossEntropyLossArgs& args) {
  stream.run_host([=] {
    for (std::int64_t c = 0; c < args.loss_C.numel(); ++c) {
      const bool ignored = args.targets_C.as<std::int32_t>()[c] < 0;
      const float loss = args.max_C.as<float>()[c] + std::log(args.sum_exp_C.as<float>()[c]) -
                         args.target_logit_C.as<float>()[c];
      args.loss_C.as<float>()[c] = ignored ? 0.0F : loss;
    }
  });
}

void cross_entropy_backward_input(Stream& stream, const CrossEntropyBackwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t columns = args.logits_CV.shape[1];
    visit_float(args.logits_CV.dtype, [&]<class T>() {
      parallel_for(args.logits_CV.shape[0], [&](std::int64_t c) {
        T* row = args.logits_CV.as<T>() + c * columns;
        const std::int32_t id = args.targets_C.as<std::int32_t>()[c];
        const std::int64_t valid = id < 0 ? 0 : args.valid_columns;
        const float largest = args.max_C.as<float>()[c];
        const float factor = args.scale / args.sum_exp_C.as<float>()[c];
        const std::int64_t target = id - args.column_begin;
        for (std::int64_t v = 0; v < valid; ++v) {
          const float softmax = std::exp(static_cast<float>(row[v]) - largest) * factor;
          row[v] = T(v == target ? softmax - args.scale : softmax);
        }
        for (std::int64_t v = valid; v < columns; ++v) row[v] = T(0.0F);
      });
    });
  });
}

}  // namespace frugal::cpu
