#include "kernels/ops/argument_check.h"
#include "kernels/ops/op_table.h"
#include "kernels/ops/product.h"

namespace frugal::ops {
namespace {

void check_product(Stream& stream, const MatmulArgs& args) {
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
    check.require(!given(args.dgelu_input_MN), "bias_N and dgelu_input_MN exclude each other");
  }
  int ends = args.accumulate ? 1 : 0;
  const auto end = [&](const char* name, const ConstTensor& t) {
    if (!given(t)) return;
    check.tensor(name, t, args.out_MN.shape, {args.out_MN.dtype});
    ++ends;
  };
  end("add_MN", args.add_MN);
  end("gelu_input_MN", args.gelu_input_MN);
  end("dgelu_input_MN", args.dgelu_input_MN);
  check.require(ends < 2,
                "accumulate, add_MN, gelu_input_MN and dgelu_input_MN exclude one another");
  if (stream.planning()) collect(args);
}

}  // namespace

void matmul(Stream& stream, const MatmulArgs& args) {
  check_product(stream, args);
  op_table(stream).matmul(stream, args);
}

void matmul_group(Stream& stream, std::span<const MatmulArgs> products) {
  for (const MatmulArgs& args : products) check_product(stream, args);
  op_table(stream).matmul_group(stream, products);
}

}  // namespace frugal::ops
