#include "kernels/cuda/attention_lse.h"

#include "kernels/cuda/launch.h"

namespace frugal::cu {
namespace {

__global__ void transpose_lse_kernel(float* to, const float* from, std::int64_t count,
                                     std::int64_t length, std::int64_t heads) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kItemThreads + threadIdx.x;
  if (i >= count) return;
  const std::int64_t s = i % length, row = i / length;
  to[i] = from[(row / heads * length + s) * heads + row % heads];
}

}  // namespace

void transpose_lse(Stream& stream, float* to, const float* from, std::int64_t sequences,
                   std::int64_t length, std::int64_t heads) {
  const std::int64_t count = sequences * length * heads;
  launch(stream, "transpose_lse", thread_for_each(count), transpose_lse_kernel, to, from, count,
         length, heads);
}

}  // namespace frugal::cu
