// One block per token.
#include "kernels/ops/loss.h"

#include <algorithm>

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/reduce.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

constexpr int kThreads = kItemThreads;

// Calls fn(first column, pack) for this thread's packs of a row of `columns`.
template <int kSize, class T, class Fn>
__device__ __forceinline__ void for_row(const T* row, std::int64_t columns, Fn fn) {
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kSize; i < columns;
       i += static_cast<std::int64_t>(kThreads) * kSize) {
    fn(i, load<kSize>(row + i));
  }
}

// Where a token's target stands in this part of the vocabulary; -1: nowhere.
__device__ __forceinline__ std::int64_t column_of(std::int32_t id, std::int64_t begin,
                                                  std::int64_t valid) {
  const std::int64_t column = id - begin;
  return id >= 0 && column >= 0 && column < valid ? column : -1;
}

template <class T>
struct Statistics {
  float* max;
  float* sum_exp;
  float* target_logit;
  const T* logits;
  const std::int32_t* targets;
  std::int64_t columns, begin, valid;
};

template <int kSize, class T>
__global__ void statistics_kernel(Statistics<T> a) {
  const T* row = a.logits + static_cast<std::int64_t>(blockIdx.x) * a.columns;
  float largest = -INFINITY;
  for_row<kSize>(row, a.columns, [&](std::int64_t i, const Pack<T, kSize>& pack) {
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      if (i + e < a.valid) largest = larger(largest, to_float(pack.element[e]));
    }
  });
  largest = block_max(largest, shared<float>());
  float sum = 0.0F;
  for_row<kSize>(row, a.columns, [&](std::int64_t i, const Pack<T, kSize>& pack) {
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      if (i + e < a.valid) sum += expf(to_float(pack.element[e]) - largest);
    }
  });
  sum = block_sum(sum, shared<float>());
  if (threadIdx.x == 0) {
    const std::int64_t target = column_of(a.targets[blockIdx.x], a.begin, a.valid);
    a.max[blockIdx.x] = largest;
    a.sum_exp[blockIdx.x] = sum;
    a.target_logit[blockIdx.x] = target >= 0 ? to_float(row[target]) : 0.0F;
  }
}

template <class T>
struct Backward {
  T* logits;
  const float* max;
  const float* sum_exp;
  const std::int32_t* targets;
  std::int64_t columns, begin, valid;
  float scale;
};

template <int kSize, class T>
__global__ void backward_kernel(Backward<T> a) {
  const std::int64_t token = blockIdx.x;
  T* row = a.logits + token * a.columns;
  const bool ignored = a.targets[token] < 0;
  const std::int64_t target = column_of(a.targets[token], a.begin, a.valid);
  const float largest = a.max[token], factor = a.scale / a.sum_exp[token];
  for_row<kSize>(row, a.columns, [&](std::int64_t i, const Pack<T, kSize>& pack) {
    Pack<T, kSize> out;
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      float gradient = expf(to_float(pack.element[e]) - largest) * factor;
      if (i + e == target) gradient -= a.scale;
      out.element[e] = from_float<T>(ignored || i + e >= a.valid ? 0.0F : gradient);
    }
    store(row + i, out);
  });
}

__global__ void rescale_kernel(float* sum_exp, const float* local_max, const float* global_max,
                               std::int64_t tokens) {
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  // A part without columns has a maximum of -inf and a sum of 0.
  if (t < tokens && sum_exp[t] != 0.0F) sum_exp[t] *= expf(local_max[t] - global_max[t]);
}

struct Loss {
  float* loss;
  const float* max;
  const float* sum_exp;
  const float* target_logit;
  const std::int32_t* targets;
  std::int64_t tokens;
};

__global__ void loss_kernel(Loss a) {
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (t >= a.tokens) return;
  a.loss[t] = a.targets[t] < 0 ? 0.0F : a.max[t] + logf(a.sum_exp[t]) - a.target_logit[t];
}

LaunchShape shape_of_rows(std::int64_t rows) {
  return {.blocks_x = rows, .threads = kThreads, .shared_bytes = kReduceBytes<float>};
}

}  // namespace

void cross_entropy_statistics(Stream& stream, const CrossEntropyStatisticsArgs& args) {
  visit_float(args.logits_CV.dtype, [&]<class T>() {
    const Statistics<T> a{.max = args.max_C.as<float>(),
                          .sum_exp = args.sum_exp_C.as<float>(),
                          .target_logit = args.target_logit_C.as<float>(),
                          .logits = args.logits_CV.as<T>(),
                          .targets = args.targets_C.as<std::int32_t>(),
                          .columns = args.logits_CV.shape[1],
                          .begin = args.column_begin,
                          .valid = args.valid_columns};
    const LaunchShape shape = shape_of_rows(args.logits_CV.shape[0]);
    fits_packs<T>(a.columns, a.logits)
        ? launch(stream, "cross_entropy_statistics", shape, statistics_kernel<kWhole<T>, T>, a)
        : launch(stream, "cross_entropy_statistics", shape, statistics_kernel<1, T>, a);
  });
}

void cross_entropy_rescale(Stream& stream, Tensor sum_exp, ConstTensor local_max,
                           ConstTensor global_max) {
  launch(stream, "cross_entropy_rescale", thread_for_each(sum_exp.numel()), rescale_kernel,
         sum_exp.as<float>(), local_max.as<float>(), global_max.as<float>(), sum_exp.numel());
}

void cross_entropy_loss(Stream& stream, const CrossEntropyLossArgs& args) {
  const Loss a{.loss = args.loss_C.as<float>(),
               .max = args.max_C.as<float>(),
               .sum_exp = args.sum_exp_C.as<float>(),
               .target_logit = args.target_logit_C.as<float>(),
               .targets = args.targets_C.as<std::int32_t>(),
               .tokens = args.loss_C.numel()};
  launch(stream, "cross_entropy_loss", thread_for_each(a.tokens), loss_kernel, a);
}

void cross_entropy_backward_input(Stream& stream, const CrossEntropyBackwardArgs& args) {
  visit_float(args.logits_CV.dtype, [&]<class T>() {
    const Backward<T> a{.logits = args.logits_CV.as<T>(),
                        .max = args.max_C.as<float>(),
                        .sum_exp = args.sum_exp_C.as<float>(),
                        .targets = args.targets_C.as<std::int32_t>(),
                        .columns = args.logits_CV.shape[1],
                        .begin = args.column_begin,
                        .valid = args.valid_columns,
                        .scale = args.scale};
    const LaunchShape shape = shape_of_rows(args.logits_CV.shape[0]);
    fits_packs<T>(a.columns, a.logits)
        ? launch(stream, "cross_entropy_backward_input", shape, backward_kernel<kWhole<T>, T>, a)
        : launch(stream, "cross_entropy_backward_input", shape, backward_kernel<1, T>, a);
  });
}

}  // namespace frugal::cu
