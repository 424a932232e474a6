// Random numbers as functions of an element's global index, in double like the host's.
#include <array>

#include "kernels/core/rng.h"
#include "kernels/cuda/device/element.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

// normal_at() of kernels/core/rng.h, with the device's functions.
__device__ float normal_of(std::uint64_t key, std::uint64_t index) {
  const std::array<std::uint32_t, 4> words = philox4x32(key, index >> 1);
  const double radius = sqrt(-2.0 * log(static_cast<double>(uniform_from_bits(words[0]))));
  // Of multiples of pi: those of any angle need local memory.
  const double turn = 2.0 * static_cast<double>(uniform_from_bits(words[1]));
  return static_cast<float>(radius * ((index & 1) == 0 ? cospi(turn) : sinpi(turn)));
}

template <class T>
struct Normal {
  T* out;
  std::int64_t count, columns;
  std::uint64_t key;
  std::int64_t row_begin, column_begin, global_columns;
  float mean, stddev;
};

template <class T>
__global__ void normal_fill_kernel(Normal<T> a) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= a.count) return;
  const std::int64_t row = a.row_begin + i / a.columns, column = a.column_begin + i % a.columns;
  const auto index = static_cast<std::uint64_t>(row * a.global_columns + column);
  a.out[i] = from_float<T>(a.mean + a.stddev * normal_of(a.key, index));
}

}  // namespace

void normal_fill(Stream& stream, const NormalFillArgs& args) {
  visit_float(args.out_RC.dtype, [&]<class T>() {
    const Normal<T> a{.out = args.out_RC.as<T>(),
                      .count = args.out_RC.numel(),
                      .columns = args.out_RC.shape[1],
                      .key = args.key,
                      .row_begin = args.row_begin,
                      .column_begin = args.column_begin,
                      .global_columns = args.global_columns,
                      .mean = args.mean,
                      .stddev = args.stddev};
    launch(stream, "normal_fill", thread_for_each(a.count), normal_fill_kernel<T>, a);
  });
}

}  // namespace frugal::cu
