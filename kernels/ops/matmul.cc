#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"
#include "kernels/ops/product.h"

namespace frugal::ops {

void matmul(Stream& stream, const MatmulArgs& args) {
  const ArgumentCheck check(stream, "matmul");
  check.rank("out_MN", args.out_MN, 2);
  check.rank("a", args.a, 2);
  const std::int64_t m = args.out_MN.shape[0], n = args.out_MN.shape[1];
  const std::int64_t k = args.a.shape[args.transpose_a ? 0 : 1];
  check.tensor("out_MN", args.out_MN, args.out_MN.shape, kFloats);
  check.tensor("a", args.a, args.transpose_a ? Shape{k, m} : Shape{m, k}, kFloats);
  check.one_is_f32("out_MN", args.out_MN, "a", args.a);
  check.tensor("b", args.b, args.transpose_b ? Shape{n, k} : Shape{k, n}, {args.a.dtype});
  if (given(args.bias_N)) {
    check.tensor("bias_N", args.bias_N, {n}, {args.a.dtype});
    check.require(!args.accumulate, "bias_N and accumulate exclude each other");
  }
  if (stream.planning()) collect(args);
  op_table(stream).matmul(stream, args);
}

}  // namespace frugal::ops
