#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"
#include "kernels/ref/gelu.h"

namespace frugal::ref {

void matmul(Stream& stream, const MatmulArgs& args) {
  stream.run_host([=] {
    const std::int64_t rows = args.out_MN.shape[0];
    const std::int64_t columns = args.out_MN.shape[1];
    const std::int64_t inner = args.a.shape[args.transpose_a ? 0 : 1];
    for (std::int64_t m = 0; m < rows; ++m) {
      for (std::int64_t n = 0; n < columns; ++n) {
        double sum = 0.0;
        for (std::int64_t k = 0; k < inner; ++k) {
          sum += at(args.a, args.transpose_a ? k * rows + m : m * inner + k) *
                 at(args.b, args.transpose_b ? n * inner + k : k * columns + n);
        }
        if (args.bias_N.data != nullptr) sum += at(args.bias_N, n);
        const std::int64_t i = m * columns + n;
        if (args.accumulate) sum += at(args.out_MN, i);
        if (given(args.add_MN)) sum += at(args.add_MN, i);
        if (given(args.gelu_input_MN)) put(args.gelu_input_MN, i, sum);
        if (given(args.gelu_input_MN)) sum = gelu(sum);
        if (given(args.dgelu_input_MN)) sum *= gelu_derivative(at(args.dgelu_input_MN, i));
        put(args.out_MN, i, sum);
      }
    }
  });
}

void matmul_group(Stream& stream, std::span<const MatmulArgs> products) {
  for (const MatmulArgs& args : products) matmul(stream, args);
}

}  // namespace frugal::ref
