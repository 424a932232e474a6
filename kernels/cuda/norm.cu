// One block per row; the gradients of weights are column sums.
#include <algorithm>

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/reduce.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

// Calls fn(first element) for the packs of a row that are this thread's.
template <int kSize, class Fn>
__device__ __forceinline__ void for_packs(std::int64_t width, Fn fn) {
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kSize; i < width;
       i += static_cast<std::int64_t>(blockDim.x) * kSize) {
    fn(i);
  }
}

// One thread for each pack of a row, within what a block holds well.
LaunchShape row_shape(std::int64_t rows, std::int64_t width, int pack) {
  const std::int64_t packs = (width + pack - 1) / pack;
  const std::int64_t warps = std::clamp<std::int64_t>((packs + kWarp - 1) / kWarp, 1, 8);
  return {.blocks_x = rows,
          .threads = static_cast<int>(warps) * kWarp,
          .shared_bytes = kReduceBytes<float>};
}

template <class T>
struct Forward {
  T* out;
  float* mean;  // LayerNorm only
  float* rstd;
  const T* x;
  const T* w;
  const T* b;  // or null
  std::int64_t width;
  float eps;
};

// out = (x - mean) * rstd * w + b for one row.
template <int kSize, class T>
__device__ __forceinline__ void write_normed(const Forward<T>& a, float mean, float rstd) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * a.width;
  for_packs<kSize>(a.width, [&](std::int64_t i) {
    const auto x = load<kSize>(a.x + begin + i);
    const auto w = load<kSize>(a.w + i);
    Pack<T, kSize> b = w;
    if (a.b != nullptr) b = load<kSize>(a.b + i);
    Pack<T, kSize> out;
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      float y = (to_float(x.element[e]) - mean) * rstd * to_float(w.element[e]);
      if (a.b != nullptr) y += to_float(b.element[e]);
      out.element[e] = from_float<T>(y);
    }
    store(a.out + begin + i, out);
  });
}

template <int kSize, class T>
__global__ void rms_norm_forward_kernel(Forward<T> a) {
  const T* x = a.x + static_cast<std::int64_t>(blockIdx.x) * a.width;
  float squares = 0.0F;
  for_packs<kSize>(a.width, [&](std::int64_t i) {
    const auto pack = load<kSize>(x + i);
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      squares = fmaf(to_float(pack.element[e]), to_float(pack.element[e]), squares);
    }
  });
  squares = block_sum(squares, shared<float>());
  const float rstd = 1.0F / sqrtf(squares / static_cast<float>(a.width) + a.eps);
  if (threadIdx.x == 0) a.rstd[blockIdx.x] = rstd;
  write_normed<kSize>(a, 0.0F, rstd);
}

template <int kSize, class T>
__global__ void layer_norm_forward_kernel(Forward<T> a) {
  const T* x = a.x + static_cast<std::int64_t>(blockIdx.x) * a.width;
  const auto sum_of = [&](auto term) {
    float sum = 0.0F;
    for_packs<kSize>(a.width, [&](std::int64_t i) {
      const auto pack = load<kSize>(x + i);
#pragma unroll
      for (int e = 0; e < kSize; ++e) sum += term(to_float(pack.element[e]));
    });
    return block_sum(sum, shared<float>());
  };
  const auto count = static_cast<float>(a.width);
  const float mean = sum_of([](float v) { return v; }) / count;
  const float variance = sum_of([mean](float v) { return (v - mean) * (v - mean); }) / count;
  const float rstd = 1.0F / sqrtf(variance + a.eps);
  if (threadIdx.x == 0) {
    a.mean[blockIdx.x] = mean;
    a.rstd[blockIdx.x] = rstd;
  }
  write_normed<kSize>(a, mean, rstd);
}

template <class T>
struct BackwardInput {
  T* dx;
  const T* dy;
  const T* x;
  const T* w;
  const float* mean;  // null: RMSNorm
  const float* rstd;
  const T* add;  // or null
  std::int64_t width;
};

// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) + add with g = dy * w; RMSNorm has no mean(g).
template <int kSize, class T>
__global__ void norm_backward_input_kernel(BackwardInput<T> a) {
  const std::int64_t row = blockIdx.x, begin = row * a.width;
  const bool centred = a.mean != nullptr;
  const float mean = centred ? a.mean[row] : 0.0F, rstd = a.rstd[row];
  float sum = 0.0F, dot = 0.0F;
  for_packs<kSize>(a.width, [&](std::int64_t i) {
    const auto dy = load<kSize>(a.dy + begin + i), x = load<kSize>(a.x + begin + i);
    const auto w = load<kSize>(a.w + i);
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      const float g = to_float(dy.element[e]) * to_float(w.element[e]);
      sum += g;
      dot = fmaf(g, (to_float(x.element[e]) - mean) * rstd, dot);
    }
  });
  const auto count = static_cast<float>(a.width);
  dot = block_sum(dot, shared<float>()) / count;
  sum = centred ? block_sum(sum, shared<float>()) / count : 0.0F;
  for_packs<kSize>(a.width, [&](std::int64_t i) {
    const auto dy = load<kSize>(a.dy + begin + i), x = load<kSize>(a.x + begin + i);
    const auto w = load<kSize>(a.w + i);
    Pack<T, kSize> add = dy;
    if (a.add != nullptr) add = load<kSize>(a.add + begin + i);
    Pack<T, kSize> out;
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      const float g = to_float(dy.element[e]) * to_float(w.element[e]);
      const float normed = (to_float(x.element[e]) - mean) * rstd;
      float dx = rstd * (g - sum - normed * dot);
      if (a.add != nullptr) dx += to_float(add.element[e]);
      out.element[e] = from_float<T>(dx);
    }
    store(a.dx + begin + i, out);
  });
}

// dw += dy * xhat, db += dy.
template <int kSize, class T>
struct WeightTerm {
  const T* dy;
  const T* x;
  const float* mean;  // null: RMSNorm
  const float* rstd;
  std::int64_t width;

  __device__ void operator()(std::int64_t row, std::int64_t column, float (&sums)[2][kSize]) const {
    const auto g = load<kSize>(dy + row * width + column);
    const auto v = load<kSize>(x + row * width + column);
    const float centre = mean != nullptr ? mean[row] : 0.0F, scale = rstd[row];
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      const float d = to_float(g.element[e]);
      sums[0][e] = fmaf(d, (to_float(v.element[e]) - centre) * scale, sums[0][e]);
      sums[1][e] += d;
    }
  }
};

template <class T>
struct BackwardWeight {
  float* dw;
  float* db;  // or null
  const T* dy;
  const T* x;
  const float* mean;  // null: RMSNorm
  const float* rstd;
  std::int64_t rows, width;
};

template <class T>
void backward_weight(Stream& stream, std::string_view name, const BackwardWeight<T>& a) {
  const auto run = [&]<int kSize>() {
    add_column_sums<kSize, 2>(
        stream, name, {.out = {a.dw, a.db}, .rows = a.rows, .width = a.width},
        WeightTerm<kSize, T>{
            .dy = a.dy, .x = a.x, .mean = a.mean, .rstd = a.rstd, .width = a.width});
  };
  fits_packs<T>(a.width, a.dy, a.x) ? run.template operator()<kWhole<T>>()
                                    : run.template operator()<1>();
}

template <class T>
void backward_input(Stream& stream, std::string_view name, std::int64_t rows,
                    const BackwardInput<T>& a) {
  if (fits_packs<T>(a.width, a.dx, a.dy, a.x, a.w, a.add)) {
    launch(stream, name, row_shape(rows, a.width, kWhole<T>),
           norm_backward_input_kernel<kWhole<T>, T>, a);
  } else {
    launch(stream, name, row_shape(rows, a.width, 1), norm_backward_input_kernel<1, T>, a);
  }
}

template <class T>
const T* optional(const ConstTensor& x) {
  return x.data == nullptr ? nullptr : x.as<T>();
}

}  // namespace

void rms_norm_forward(Stream& stream, Tensor out, Tensor rstd, ConstTensor x, ConstTensor w,
                      float eps) {
  visit_float(x.dtype, [&]<class T>() {
    const Forward<T> a{.out = out.as<T>(),
                       .rstd = rstd.as<float>(),
                       .x = x.as<T>(),
                       .w = w.as<T>(),
                       .width = x.shape[1],
                       .eps = eps};
    if (fits_packs<T>(a.width, a.out, a.x, a.w)) {
      launch(stream, "rms_norm_forward", row_shape(x.shape[0], a.width, kWhole<T>),
             rms_norm_forward_kernel<kWhole<T>, T>, a);
    } else {
      launch(stream, "rms_norm_forward", row_shape(x.shape[0], a.width, 1),
             rms_norm_forward_kernel<1, T>, a);
    }
  });
}

void rms_norm_backward_input(Stream& stream, const RmsNormBackwardInputArgs& args) {
  visit_float(args.x_TD.dtype, [&]<class T>() {
    backward_input<T>(stream, "rms_norm_backward_input", args.x_TD.shape[0],
                      {.dx = args.dx_TD.as<T>(),
                       .dy = args.dy_TD.as<T>(),
                       .x = args.x_TD.as<T>(),
                       .w = args.w_D.as<T>(),
                       .rstd = args.rstd_T.as<float>(),
                       .add = optional<T>(args.add_TD),
                       .width = args.x_TD.shape[1]});
  });
}

void rms_norm_backward_weight(Stream& stream, Tensor dw, ConstTensor dy, ConstTensor x,
                              ConstTensor rstd) {
  visit_float(x.dtype, [&]<class T>() {
    backward_weight<T>(stream, "rms_norm_backward_weight",
                       {.dw = dw.as<float>(),
                        .dy = dy.as<T>(),
                        .x = x.as<T>(),
                        .rstd = rstd.as<float>(),
                        .rows = x.shape[0],
                        .width = x.shape[1]});
  });
}

void layer_norm_forward(Stream& stream, const LayerNormForwardArgs& args) {
  visit_float(args.x_TD.dtype, [&]<class T>() {
    const Forward<T> a{.out = args.out_TD.as<T>(),
                       .mean = args.mean_T.as<float>(),
                       .rstd = args.rstd_T.as<float>(),
                       .x = args.x_TD.as<T>(),
                       .w = args.w_D.as<T>(),
                       .b = optional<T>(args.b_D),
                       .width = args.x_TD.shape[1],
                       .eps = args.eps};
    const std::int64_t rows = args.x_TD.shape[0];
    if (fits_packs<T>(a.width, a.out, a.x, a.w, a.b)) {
      launch(stream, "layer_norm_forward", row_shape(rows, a.width, kWhole<T>),
             layer_norm_forward_kernel<kWhole<T>, T>, a);
    } else {
      launch(stream, "layer_norm_forward", row_shape(rows, a.width, 1),
             layer_norm_forward_kernel<1, T>, a);
    }
  });
}

void layer_norm_backward_input(Stream& stream, const LayerNormBackwardInputArgs& args) {
  visit_float(args.x_TD.dtype, [&]<class T>() {
    backward_input<T>(stream, "layer_norm_backward_input", args.x_TD.shape[0],
                      {.dx = args.dx_TD.as<T>(),
                       .dy = args.dy_TD.as<T>(),
                       .x = args.x_TD.as<T>(),
                       .w = args.w_D.as<T>(),
                       .mean = args.mean_T.as<float>(),
                       .rstd = args.rstd_T.as<float>(),
                       .add = optional<T>(args.add_TD),
                       .width = args.x_TD.shape[1]});
  });
}

void layer_norm_backward_weight(Stream& stream, const LayerNormBackwardWeightArgs& args) {
  visit_float(args.x_TD.dtype, [&]<class T>() {
    backward_weight<T>(stream, "layer_norm_backward_weight",
                       {.dw = args.dw_D.as<float>(),
                        .db = args.db_D.data == nullptr ? nullptr : args.db_D.as<float>(),
                        .dy = args.dy_TD.as<T>(),
                        .x = args.x_TD.as<T>(),
                        .mean = args.mean_T.as<float>(),
                        .rstd = args.rstd_T.as<float>(),
                        .rows = args.x_TD.shape[0],
                        .width = args.x_TD.shape[1]});
  });
}

}  // namespace frugal::cu
