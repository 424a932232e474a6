#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {

void embedding_forward(Stream& stream, const EmbeddingForwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t width = args.out_TD.shape[1];
    for (std::int64_t t = 0; t < args.out_TD.shape[0]; ++t) {
      const std::int64_t row = args.ids_T.as<std::int32_t>()[t] - args.row_begin;
      const bool here = row >= 0 && row < args.table_VD.shape[0];
      for (std::int64_t d = 0; d < width; ++d) {
        const double old = args.accumulate ? at(args.out_TD, t * width + d) : 0.0;
        put(args.out_TD, t * width + d, old + (here ? at(args.table_VD, row * width + d) : 0.0));
      }
    }
  });
}

void embedding_backward_weight(Stream& stream, Tensor dtable, ConstTensor dy, ConstTensor ids,
                               std::int64_t row_begin) {
  stream.run_host([=] {
    const std::int64_t width = dy.shape[1];
    for (std::int64_t t = 0; t < dy.shape[0]; ++t) {
      const std::int64_t row = ids.as<std::int32_t>()[t] - row_begin;
      if (row < 0 || row >= dtable.shape[0]) continue;
      for (std::int64_t d = 0; d < width; ++d) {
        put(dtable, row * width + d, at(dtable, row * width + d) + at(dy, t * width + d));
      }
    }
  });
}

}  // namespace frugal::ref
