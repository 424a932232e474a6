// One block per token; for the gradient, the first token of an id adds the rows of all.
#include "kernels/ops/embedding.h"

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/reduce.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

template <class T>
struct Lookup {
  T* out;
  const T* table;
  const std::int32_t* ids;
  std::int64_t width, begin, rows;
  bool accumulate;
};

template <int kSize, class T>
__global__ void embedding_forward_kernel(Lookup<T> a) {
  const std::int64_t token = blockIdx.x, row = a.ids[token] - a.begin;
  const bool here = row >= 0 && row < a.rows;
  if (!here && a.accumulate) return;
  T* to = a.out + token * a.width;
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kSize; i < a.width;
       i += static_cast<std::int64_t>(blockDim.x) * kSize) {
    Pack<T, kSize> out = {};
    if (here) out = load<kSize>(a.table + row * a.width + i);
    if (a.accumulate) {
      const auto before = load<kSize>(to + i);
#pragma unroll
      for (int e = 0; e < kSize; ++e) {
        out.element[e] = from_float<T>(to_float(before.element[e]) + to_float(out.element[e]));
      }
    }
    store(to + i, out);
  }
}

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

template <class T>
struct Gradient {
  float* table;
  const T* dy;
  const std::int32_t* ids;
  std::int64_t tokens, width, begin, rows;
};

// Shared memory: what block_reduce needs, which also holds a word for every warp. Every block reads
// all ids, tokens^2 words in all: they stay in the cache, and up to some ten thousand tokens cost
// less than the rows.
template <int kSize, class T>
__global__ void embedding_backward_weight_kernel(Gradient<T> a) {
  const std::int64_t token = blockIdx.x;
  const std::int32_t id = a.ids[token];
  const std::int64_t row = id - a.begin;
  if (row < 0 || row >= a.rows) return;
  int earlier = 0;
  for (std::int64_t t = threadIdx.x; t < token; t += kThreads) earlier |= a.ids[t] == id ? 1 : 0;
  if (block_reduce(earlier, 0, shared<int>(), [](int x, int y) { return x | y; }) != 0) return;

  const std::int64_t column =
      (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kSize;
  const bool inside = column < a.width;
  float* to = a.table + row * a.width + column;
  float sum[kSize] = {};
  if (inside) {
#pragma unroll
    for (int e = 0; e < kSize; ++e) sum[e] = to[e];
  }
  // In the order of tokens: the threads look at one each, then all add the rows of those found.
  auto* found = shared<unsigned>();
  for (std::int64_t first = token; first < a.tokens; first += kThreads) {
    const std::int64_t t = first + threadIdx.x;
    const unsigned votes = __ballot_sync(kAllLanes, t < a.tokens && a.ids[t] == id ? 1 : 0);
    __syncthreads();  // the last readers are done
    if (threadIdx.x % kWarp == 0) found[threadIdx.x / kWarp] = votes;
    __syncthreads();
    for (int warp = 0; warp < kWarps && inside; ++warp) {
      for (unsigned left = found[warp]; left != 0; left &= left - 1) {
        const std::int64_t other = first + warp * kWarp + __ffs(static_cast<int>(left)) - 1;
        const auto dy = load<kSize>(a.dy + other * a.width + column);
#pragma unroll
        for (int e = 0; e < kSize; ++e) sum[e] += to_float(dy.element[e]);
      }
    }
  }
  if (!inside) return;
#pragma unroll
  for (int e = 0; e < kSize; ++e) to[e] = sum[e];
}

}  // namespace

void embedding_forward(Stream& stream, const EmbeddingForwardArgs& args) {
  visit_float(args.out_TD.dtype, [&]<class T>() {
    const Lookup<T> a{.out = args.out_TD.as<T>(),
                      .table = args.table_VD.as<T>(),
                      .ids = args.ids_T.as<std::int32_t>(),
                      .width = args.out_TD.shape[1],
                      .begin = args.row_begin,
                      .rows = args.table_VD.shape[0],
                      .accumulate = args.accumulate};
    const LaunchShape shape{.blocks_x = args.out_TD.shape[0], .threads = 128};
    fits_packs<T>(a.width, a.out, a.table)
        ? launch(stream, "embedding_forward", shape, embedding_forward_kernel<kWhole<T>, T>, a)
        : launch(stream, "embedding_forward", shape, embedding_forward_kernel<1, T>, a);
  });
}

void embedding_backward_weight(Stream& stream, Tensor dtable, ConstTensor dy, ConstTensor ids,
                               std::int64_t row_begin) {
  visit_float(dy.dtype, [&]<class T>() {
    const Gradient<T> a{.table = dtable.as<float>(),
                        .dy = dy.as<T>(),
                        .ids = ids.as<std::int32_t>(),
                        .tokens = dy.shape[0],
                        .width = dy.shape[1],
                        .begin = row_begin,
                        .rows = dtable.shape[0]};
    const auto run = [&]<int kSize>() {
      constexpr std::int64_t kStrip = kThreads * kSize;
      launch(stream, "embedding_backward_weight",
             {.blocks_x = a.tokens,
              .blocks_y = (a.width + kStrip - 1) / kStrip,
              .threads = kThreads,
              .shared_bytes = kReduceBytes<int>},
             embedding_backward_weight_kernel<kSize, T>, a);
    };
    fits_packs<T>(a.width, a.dy) ? run.template operator()<kWhole<T>>()
                                 : run.template operator()<1>();
  });
}

}  // namespace frugal::cu
