#include "kernels/ops/product.h"

#include <algorithm>

#include "kernels/core/check.h"

namespace frugal {
namespace {

thread_local std::set<Product>* collected = nullptr;

int alignment_of(const std::byte* data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  int alignment = 16;
  while (address % static_cast<std::uintptr_t>(alignment) != 0) alignment /= 2;
  return alignment;
}

}  // namespace

Product product_of(const MatmulArgs& args) {
  return {.in = args.a.dtype,
          .out = args.out_MN.dtype,
          .m = args.out_MN.shape[0],
          .n = args.out_MN.shape[1],
          .k = args.a.shape[args.transpose_a ? 0 : 1],
          .transpose_a = args.transpose_a,
          .transpose_b = args.transpose_b,
          .accumulate = args.accumulate,
          .bias = given(args.bias_N),
          .add = given(args.add_MN),
          .gelu = given(args.gelu_input_MN)    ? GeluUse::kForward
                  : given(args.dgelu_input_MN) ? GeluUse::kDerivative
                                               : GeluUse::kNone,
          .tf32 = args.tf32 && args.a.dtype == DType::kF32,
          .alignment = std::min(
              {alignment_of(args.out_MN.data), alignment_of(args.a.data), alignment_of(args.b.data),
               alignment_of(args.bias_N.data), alignment_of(args.add_MN.data),
               alignment_of(args.gelu_input_MN.data), alignment_of(args.dgelu_input_MN.data)})};
}

std::string text_of(const Product& p) {
  return concat(
      name_of(p.in), " -> ", name_of(p.out), ", ", p.m, " x ", p.n, " x ", p.k,
      p.transpose_a ? ", a transposed" : "", p.transpose_b ? ", b transposed" : "",
      p.accumulate ? ", accumulated" : "", p.bias ? ", bias" : "", p.add ? ", with addend" : "",
      p.gelu == GeluUse::kForward      ? ", GELU"
      : p.gelu == GeluUse::kDerivative ? ", times GELU's derivative"
                                       : "",
      p.tf32 ? ", TF32" : "", p.alignment == 16 ? "" : concat(", aligned to ", p.alignment));
}

ProductCollector::ProductCollector(std::set<Product>& products) {
  FRUGAL_CHECK(collected == nullptr, "one collector at a time");
  collected = &products;
}

ProductCollector::~ProductCollector() {
  collected = nullptr;
}

void collect(const MatmulArgs& args) {
  if (collected == nullptr) return;
  Product product = product_of(args);
  collected->insert(product);
  product.gelu = GeluUse::kNone;
  collected->insert(product);
}

}  // namespace frugal
