// One block per token.
#include "kernels/ops/embedding.h"

#include "kernels/cuda/device/element.h"
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

}  // namespace frugal::cu
