#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

namespace frugal::cpu {

void embedding_forward(Stream& stream, const EmbeddingForwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t width = args.out_TD.shape[1];
    visit_float(args.out_TD.dtype, [&]<class T>() {
      parallel_for(args.out_TD.shape[0], [&](std::int64_t t) {
        const std::int64_t row = args.ids_T.as<std::int32_t>()[t] - args.row_begin;
        const bool here = row >= 0 && row < args.table_VD.shape[0];
        const T* from = here ? args.table_VD.as<T>() + row * width : nullptr;
        T* to = args.out_TD.as<T>() + t * width;
        for (std::int64_t d = 0; d < width; ++d) {
          const float value = here ? static_cast<float>(from[d]) : 0.0F;
          to[d] = T(args.accumulate ? static_cast<float>(to[d]) + value : value);
        }
      });
    });
  });
}

// Tokens sorted by id, then by place: each id's row belongs to one thread, which adds in token
// order.
void embedding_backward_weight(Stream& stream, Tensor dtable, ConstTensor dy, ConstTensor ids,
                               std::int64_t row_begin) {
  stream.run_host([=] {
    const std::int32_t* id = ids.as<std::int32_t>();
    std::vector<std::int64_t> order(static_cast<std::size_t>(ids.numel()));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return id[a] < id[b]; });
    std::vector<std::size_t> starts;  // where a new id begins
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i == 0 || id[order[i]] != id[order[i - 1]]) starts.push_back(i);
    }
    starts.push_back(order.size());
    const std::int64_t width = dy.shape[1];
    visit_float(dy.dtype, [&]<class T>() {
      parallel_for(static_cast<std::int64_t>(starts.size()) - 1, [&](std::int64_t s) {
        const auto segment = static_cast<std::size_t>(s);
        const std::int64_t row = id[order[starts[segment]]] - row_begin;
        if (row < 0 || row >= dtable.shape[0]) return;
        float* to = dtable.as<float>() + row * width;
        for (std::size_t i = starts[segment]; i < starts[segment + 1]; ++i) {
          const T* from = dy.as<T>() + order[i] * width;
          for (std::int64_t d = 0; d < width; ++d) to[d] += static_cast<float>(from[d]);
        }
      });
    });
  });
}

}  // namespace frugal::cpu
