// Sums in a fixed order. In double where a norm or a loss depends on many elements: a GPU with few
// double units still adds faster than it reads.
#include <bit>

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/device/reduce.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/op_table.h"
#include "kernels/ops/optimizer.h"

namespace frugal::cu {
namespace {

constexpr int kThreads = kItemThreads;

__device__ __forceinline__ std::int64_t own_element() {
  return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

// How integers and floats are summed, and how their sum is stored.
__device__ __forceinline__ std::uint32_t widen(std::int32_t x) {
  return static_cast<std::uint32_t>(x);  // wraps
}
template <class T>
__device__ __forceinline__ float widen(T x) {
  return to_float(x);
}
template <class T, class Sum>
__device__ __forceinline__ T narrow(Sum x) {
  if constexpr (sizeof(T) == 4) {
    return static_cast<T>(x);
  } else {
    return from_float<T>(x);
  }
}

// The sums of whole subtrees that wait for their right neighbours are a stack, a column of shared
// memory for each thread: as many as the row count has binary digits.
template <class T>
__global__ void tree_sum_kernel(T* out, const T* parts, std::int64_t rows, std::int64_t count) {
  using Sum = decltype(widen(T{}));
  const std::int64_t i = own_element();
  if (i >= count) return;
  Sum* stack = shared<Sum>() + threadIdx.x;
  int depth = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    Sum sum = widen(parts[r * count + i]);
    for (std::int64_t done = r + 1; done % 2 == 0; done /= 2) {
      --depth;
      sum = stack[depth * kThreads] + sum;
    }
    stack[depth * kThreads] = sum;
    ++depth;
  }
  Sum sum = stack[(depth - 1) * kThreads];
  for (int d = depth - 2; d >= 0; --d) sum = stack[d * kThreads] + sum;
  out[i] = narrow<T>(sum);
}

__device__ __forceinline__ std::int32_t larger_of(std::int32_t a, std::int32_t b) {
  return a > b ? a : b;
}
__device__ __forceinline__ float larger_of(float a, float b) {
  return larger(a, b);
}
template <class Half>
__device__ __forceinline__ Half larger_of(Half a, Half b) {
  const float x = to_float(a), y = to_float(b);
  return y > x || y != y ? (x != x ? a : b) : a;
}

template <class T>
__global__ void max_rows_kernel(T* out, const T* parts, std::int64_t rows, std::int64_t count) {
  const std::int64_t i = own_element();
  if (i >= count) return;
  T largest = parts[i];
  for (std::int64_t r = 1; r < rows; ++r) largest = larger_of(largest, parts[r * count + i]);
  out[i] = largest;
}

// The sum of term(x[i]) over [begin, end), on every thread of the block.
template <class Term>
__device__ __forceinline__ double double_sum(const float* x, std::int64_t begin, std::int64_t end,
                                             Term term) {
  double sum = 0.0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    sum += term(static_cast<double>(x[i]));
  }
  return block_sum(sum, shared<double>());
}

__global__ void sum_accumulate_kernel(float* out, const float* x, std::int64_t count) {
  const double sum = double_sum(x, 0, count, [](double v) { return v; });
  if (threadIdx.x == 0) *out = static_cast<float>(static_cast<double>(*out) + sum);
}

__global__ void block_sum_squares_kernel(float* out, const float* x, std::int64_t block,
                                         std::int64_t count) {
  const std::int64_t begin = blockIdx.x * block;
  const std::int64_t end = begin + block < count ? begin + block : count;
  const double sum = double_sum(x, begin, end, [](double v) { return v * v; });
  if (threadIdx.x == 0) out[blockIdx.x] = static_cast<float>(sum);
}

template <int kSize, class T>
struct BiasTerm {
  const T* dy;
  std::int64_t width;

  __device__ void operator()(std::int64_t row, std::int64_t column, float (&sums)[1][kSize]) const {
    const auto pack = load<kSize>(dy + row * width + column);
#pragma unroll
    for (int e = 0; e < kSize; ++e) sums[0][e] += to_float(pack.element[e]);
  }
};

// Calls fn with the C++ type of what rows of ranks may hold.
template <class Fn>
void visit_row_type(DType dtype, Fn&& fn) {
  if (dtype == DType::kI32) return fn.template operator()<std::int32_t>();
  visit_float(dtype, fn);
}

}  // namespace

void tree_sum(Stream& stream, Tensor out, ConstTensor parts) {
  const std::int64_t rows = parts.shape[0];
  LaunchShape shape = thread_for_each(out.numel());
  const auto levels = static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(rows)));
  shape.shared_bytes = levels * kThreads * sizeof(float);
  visit_row_type(parts.dtype, [&]<class T>() {
    launch(stream, "tree_sum", shape, tree_sum_kernel<T>, out.as<T>(), parts.as<T>(), rows,
           out.numel());
  });
}

void max_rows(Stream& stream, Tensor out, ConstTensor parts) {
  visit_row_type(parts.dtype, [&]<class T>() {
    launch(stream, "max_rows", thread_for_each(out.numel()), max_rows_kernel<T>, out.as<T>(),
           parts.as<T>(), parts.shape[0], out.numel());
  });
}

void sum_accumulate(Stream& stream, Tensor out, ConstTensor x) {
  launch(stream, "sum_accumulate", {.threads = 1024, .shared_bytes = kReduceBytes<double>},
         sum_accumulate_kernel, out.as<float>(), x.as<float>(), x.numel());
}

void block_sum_squares(Stream& stream, Tensor out, ConstTensor x, std::int64_t block) {
  launch(stream, "block_sum_squares",
         {.blocks_x = out.numel(), .threads = kThreads, .shared_bytes = kReduceBytes<double>},
         block_sum_squares_kernel, out.as<float>(), x.as<float>(), block, x.numel());
}

void bias_backward_weight(Stream& stream, Tensor db, ConstTensor dy) {
  visit_float(dy.dtype, [&]<class T>() {
    const std::int64_t width = dy.shape[1];
    const auto run = [&]<int kSize>() {
      add_column_sums<kSize, 1>(stream, "bias_backward_weight",
                                {.out = {db.as<float>()}, .rows = dy.shape[0], .width = width},
                                BiasTerm<kSize, T>{.dy = dy.as<T>(), .width = width});
    };
    fits_packs<T>(width, dy.as<T>()) ? run.template operator()<kWhole<T>>()
                                     : run.template operator()<1>();
  });
}

}  // namespace frugal::cu
