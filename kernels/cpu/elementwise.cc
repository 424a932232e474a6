#include <algorithm>

#include "kernels/ops/op_table.h"

namespace frugal::cpu {

void add(Stream&, Tensor, ConstTensor, ConstTensor) {
  FRUGAL_CHECK(false, "cpu::add is missing");
}

void cast(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "cpu::cast is missing");
}

void fill(Stream&, Tensor, float) {
  FRUGAL_CHECK(false, "cpu::fill is missing");
}

void normal_fill(Stream&, const NormalFillArgs&) {
  FRUGAL_CHECK(false, "cpu::normal_fill is missing");
}

namespace {
float load(const ConstTensor& t, std::int64_t i) {
  return t.dtype == DType::kF32 ? t.as<float>()[i] : static_cast<float>(t.as<BFloat16>()[i]);
}
void store(const Tensor& t, std::int64_t i, float v) {
  if (t.dtype == DType::kF32)
    t.as<float>()[i] = v;
  else
    t.as<BFloat16>()[i] = BFloat16(v);
}
float tree(const ConstTensor& p, std::int64_t n, std::int64_t i, std::int64_t a, std::int64_t b) {
  if (b - a == 1) return load(p, a * n + i);
  std::int64_t half = 1;
  while (half * 2 < b - a) half *= 2;
  return tree(p, n, i, a, a + half) + tree(p, n, i, a + half, b);
}
}  // namespace

void tree_sum(Stream& stream, Tensor out, ConstTensor parts) {
  stream.run_host([=] {
    const std::int64_t n = out.numel(), rows = parts.shape[0];
    for (std::int64_t i = 0; i < n; ++i) store(out, i, tree(parts, n, i, 0, rows));
  });
}

void max_rows(Stream& stream, Tensor out, ConstTensor parts) {
  stream.run_host([=] {
    const std::int64_t n = out.numel(), rows = parts.shape[0];
    for (std::int64_t i = 0; i < n; ++i) {
      float best = load(parts, i);
      for (std::int64_t r = 1; r < rows; ++r) best = std::max(best, load(parts, r * n + i));
      store(out, i, best);
    }
  });
}

void sum_accumulate(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "cpu::sum_accumulate is missing");
}

void bias_backward_weight(Stream&, Tensor, ConstTensor) {
  FRUGAL_CHECK(false, "cpu::bias_backward_weight is missing");
}

}  // namespace frugal::cpu
