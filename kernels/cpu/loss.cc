// Rows are independent; a row's sum is in an order fixed by its length.
#include "kernels/ops/loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/loss.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/exp_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

void token_statistics(const CrossEntropyStatisticsArgs& args) {
  const F32 d;
  const std::int64_t columns = args.logits_CV.shape[1];
  visit_float(args.logits_CV.dtype, [&]<class T>() {
    parallel_for(args.logits_CV.shape[0], columns, [&](std::int64_t c) {
      const T* row = args.logits_CV.as<T>() + c * columns;
      const float largest = max_vectors(
          args.valid_columns, [=](std::int64_t i, auto lanes) { return load(row + i, lanes); });
      const std::int32_t id = args.targets_C.as<std::int32_t>()[c];
      const std::int64_t target = id - args.column_begin;
      const bool here = id >= 0 && target >= 0 && target < args.valid_columns;
      args.max_C.as<float>()[c] = largest;
      args.sum_exp_C.as<float>()[c] =
          sum_vectors(args.valid_columns, [=](std::int64_t i, auto lanes) {
            return exp_of(hn::Sub(load(row + i, lanes), hn::Set(d, largest)));
          });
      args.target_logit_C.as<float>()[c] = here ? static_cast<float>(row[target]) : 0.0F;
    });
  });
}

void logits_gradient(const CrossEntropyBackwardArgs& args) {
  const F32 d;
  const std::int64_t columns = args.logits_CV.shape[1];
  visit_float(args.logits_CV.dtype, [&]<class T>() {
    parallel_for(args.logits_CV.shape[0], columns, [&](std::int64_t c) {
      T* row = args.logits_CV.as<T>() + c * columns;
      const std::int32_t id = args.targets_C.as<std::int32_t>()[c];
      const std::int64_t valid = id < 0 ? 0 : args.valid_columns;
      const std::int64_t target = id - args.column_begin;
      const Vec largest = hn::Set(d, args.max_C.as<float>()[c]);
      const Vec factor = hn::Set(d, args.scale / args.sum_exp_C.as<float>()[c]);
      const auto softmax = [=](Vec logit) {
        return hn::Mul(exp_of(hn::Sub(logit, largest)), factor);
      };
      const bool here = target >= 0 && target < valid;
      const float at_target =
          here ? hn::GetLane(softmax(hn::Set(d, static_cast<float>(row[target])))) : 0.0F;
      for_vectors(0, valid, [=](std::int64_t i, auto lanes) {
        store(softmax(load(row + i, lanes)), row + i, lanes);
      });
      if (here) row[target] = T(at_target - args.scale);
      std::fill(row + valid, row + columns, T(0.0F));
    });
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(token_statistics);
HWY_EXPORT(logits_gradient);

void cross_entropy_statistics(Stream& stream, const CrossEntropyStatisticsArgs& args) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(token_statistics)(args); });
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
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(logits_gradient)(args); });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
