// Sums of float32 memory in double. Compiled once per instruction set, like vector_inl.h.
#if defined(FRUGAL_KERNELS_CPU_DOUBLE_SUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FRUGAL_KERNELS_CPU_DOUBLE_SUM_INL_H_
#undef FRUGAL_KERNELS_CPU_DOUBLE_SUM_INL_H_
#else
#define FRUGAL_KERNELS_CPU_DOUBLE_SUM_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F64 = hn::ScalableTag<double>;
using Vec64 = hn::Vec<F64>;

// Sum of term(x[i]) for i in [0, count), in an order fixed by count alone. term(0) must be 0.
template <class Term>
double sum_doubles(const float* x, std::int64_t count, const Term& term) {
  const F64 d;
  const hn::Rebind<float, F64> half;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto at = [&](const float* from) { return term(hn::PromoteTo(d, hn::LoadU(half, from))); };
  Vec64 s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;  // hide the latency of addition
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    s0 = hn::Add(s0, at(x + i));
    s1 = hn::Add(s1, at(x + i + lanes));
    s2 = hn::Add(s2, at(x + i + 2 * lanes));
    s3 = hn::Add(s3, at(x + i + 3 * lanes));
  }
  for (; i < count; i += lanes) {
    HWY_ALIGN float piece[hn::MaxLanes(F64())] = {};
    std::memcpy(piece, x + i, static_cast<std::size_t>(std::min(lanes, count - i)) * sizeof(float));
    s0 = hn::Add(s0, at(piece));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
