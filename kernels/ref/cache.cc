#include "kernels/ops/cache.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {

void rows_store(Stream& stream, Tensor out, ConstTensor rows, ConstTensor x) {
  stream.run_host([=] {
    for (std::int64_t t = 0; t < x.shape[0]; ++t) {
      const std::int32_t row = rows.as<std::int32_t>()[t];
      if (row < 0) continue;
      const ConstTensor from = x.slice(t, t + 1);
      std::memcpy(out.slice(row, row + 1).data, from.data,
                  static_cast<std::size_t>(from.numel()) * size_of(from.dtype));
    }
  });
}

void attention_cached_forward(Stream& stream, const AttentionCachedForwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t heads = args.q_TNH.shape[1], size = args.q_TNH.shape[2];
    const std::int64_t kv_heads = args.k_RMH.shape[1];
    for (std::int64_t item = 0; item < args.q_TNH.shape[0] * heads; ++item) {
      const std::int64_t t = item / heads, kv_head = item % heads / (heads / kv_heads);
      std::vector<double> sum(static_cast<std::size_t>(size), 0.0);
      double total = 0.0;
      const std::int32_t last = args.last_row_T.as<std::int32_t>()[t];
      for (std::int64_t row = args.first_row_T.as<std::int32_t>()[t]; row <= last; ++row) {
        const std::int64_t key = (row * kv_heads + kv_head) * size;
        double score = 0.0;
        for (std::int64_t h = 0; h < size; ++h) {
          score += at(args.q_TNH, item * size + h) * at(args.k_RMH, key + h);
        }
        const double weight = std::exp(static_cast<double>(args.scale) * score);
        total += weight;
        for (std::int64_t h = 0; h < size; ++h) {
          sum[static_cast<std::size_t>(h)] += weight * at(args.v_RMH, key + h);
        }
      }
      for (std::int64_t h = 0; h < size; ++h) {
        const bool seen = last >= args.first_row_T.as<std::int32_t>()[t];
        const double value = seen ? sum[static_cast<std::size_t>(h)] / total : 0.0;
        put(args.out_TNH, item * size + h, value);
      }
    }
  });
}

}  // namespace frugal::ref
