// Attention over cached keys: a block for each new token and query head, whose warps take keys in
// turn and are summed in their order; rows of the cache stored by a block each.
#include "kernels/ops/cache.h"

#include <cfloat>
#include <cmath>

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/reduce.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarp;
constexpr int kMostWidth = 256, kPerLane = kMostWidth / kWarp;

template <class T>
struct Cached {
  T* out;                // [tokens, heads, width]
  const T* query;        // alike
  const T *key, *value;  // [rows, kv_heads, width]
  const std::int32_t *first, *last;
  std::int64_t heads, kv_heads, width;
  float scale;
};

// What a warp has summed over its keys; lane l holds elements l, l + 32, ...
struct Sums {
  float largest, total;
  float out[kPerLane];
};

template <class T>
__device__ Sums sum_of_warp(const Cached<T>& a, std::int64_t token, std::int64_t head, int warp,
                            int lane) {
  const std::int64_t stride = a.kv_heads * a.width;
  const std::int64_t offset = head / (a.heads / a.kv_heads) * a.width;
  const T* query = a.query + (token * a.heads + head) * a.width;
  float q[kPerLane];
  Sums sums = {-FLT_MAX, 0.0F, {}};  // finite: scores of -infinity have no weight
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int h = lane + i * kWarp;
    q[i] = h < a.width ? to_float(query[h]) * a.scale : 0.0F;
  }
  const std::int64_t last = a.last[token];
  for (std::int64_t row = a.first[token] + warp; row <= last; row += kWarps) {
    const T* key = a.key + row * stride + offset;
    const T* value = a.value + row * stride + offset;
    float score = 0.0F;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const int h = lane + i * kWarp;
      if (h < a.width) score += q[i] * to_float(key[h]);
    }
    score = warp_reduce(score, [](float x, float y) { return x + y; });
    const float largest = fmaxf(sums.largest, score);
    const float shrink = expf(sums.largest - largest), weight = expf(score - largest);
    sums.largest = largest;
    sums.total = sums.total * shrink + weight;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const int h = lane + i * kWarp;
      if (h < a.width) sums.out[i] = sums.out[i] * shrink + weight * to_float(value[h]);
    }
  }
  return sums;
}

// Shared memory: of every warp its largest score, its total and its sums.
template <class T>
__global__ void attention_cached_forward_kernel(Cached<T> a) {
  const std::int64_t token = blockIdx.x / a.heads, head = blockIdx.x % a.heads;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Sums sums = sum_of_warp(a, token, head, warp, lane);
  float* largest = shared<float>();
  float* total = largest + kWarps;
  float* partial = total + kWarps;
  if (lane == 0) {
    largest[warp] = sums.largest;
    total[warp] = sums.total;
  }
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) partial[warp * kMostWidth + lane + i * kWarp] = sums.out[i];
  __syncthreads();
  float top = -FLT_MAX, sum = 0.0F;
  for (int w = 0; w < kWarps; ++w) top = fmaxf(top, largest[w]);
  const bool seen = a.last[token] >= a.first[token];
  for (int w = 0; w < kWarps; ++w) sum += seen ? total[w] * expf(largest[w] - top) : 0.0F;
  T* out = a.out + (token * a.heads + head) * a.width;
  for (int h = static_cast<int>(threadIdx.x); h < a.width; h += kThreads) {
    float value = 0.0F;
    for (int w = 0; w < kWarps; ++w) {
      value += seen ? partial[w * kMostWidth + h] * expf(largest[w] - top) : 0.0F;
    }
    out[h] = from_float<T>(seen ? value / sum : 0.0F);
  }
}

struct Rows {
  unsigned char* out;
  const unsigned char* in;
  const std::int32_t* rows;
  std::int64_t bytes;  // of a row
};

template <int kSize>
__global__ void rows_store_kernel(Rows a) {
  const std::int64_t row = a.rows[blockIdx.x];
  if (row < 0) return;
  const unsigned char* from = a.in + static_cast<std::int64_t>(blockIdx.x) * a.bytes;
  unsigned char* to = a.out + row * a.bytes;
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kSize; i < a.bytes;
       i += static_cast<std::int64_t>(blockDim.x) * kSize) {
    store(to + i, load<kSize>(from + i));
  }
}

}  // namespace

void attention_cached_forward(Stream& stream, const AttentionCachedForwardArgs& args) {
  visit_float(args.q_TNH.dtype, [&]<class T>() {
    const Cached<T> a{.out = args.out_TNH.as<T>(),
                      .query = args.q_TNH.as<T>(),
                      .key = args.k_RMH.as<T>(),
                      .value = args.v_RMH.as<T>(),
                      .first = args.first_row_T.as<std::int32_t>(),
                      .last = args.last_row_T.as<std::int32_t>(),
                      .heads = args.q_TNH.shape[1],
                      .kv_heads = args.k_RMH.shape[1],
                      .width = args.q_TNH.shape[2],
                      .scale = args.scale};
    launch(stream, "attention_cached_forward",
           {.blocks_x = args.q_TNH.shape[0] * a.heads,
            .threads = kThreads,
            .shared_bytes = kWarps * (kMostWidth + 2) * sizeof(float)},
           attention_cached_forward_kernel<T>, a);
  });
}

void rows_store(Stream& stream, Tensor out, ConstTensor rows, ConstTensor x) {
  const Rows a{.out = reinterpret_cast<unsigned char*>(out.data),
               .in = reinterpret_cast<const unsigned char*>(x.data),
               .rows = rows.as<std::int32_t>(),
               .bytes = x.shape[1] * static_cast<std::int64_t>(size_of(x.dtype))};
  launch(stream, "rows_store", {.blocks_x = x.shape[0], .threads = kThreads},
         fits_packs<unsigned char>(a.bytes, a.out, a.in) ? rows_store_kernel<16>
                                                         : rows_store_kernel<1>,
         a);
}

}  // namespace frugal::cu
