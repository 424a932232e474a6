// The exponential of scores. Compiled once per instruction set, like vector_inl.h.
#if defined(FRUGAL_KERNELS_CPU_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FRUGAL_KERNELS_CPU_EXP_INL_H_
#undef FRUGAL_KERNELS_CPU_EXP_INL_H_
#else
#define FRUGAL_KERNELS_CPU_EXP_INL_H_
#endif

#include <limits>
#include <type_traits>

#include "hwy/contrib/math/math-inl.h"
#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

// exp(x) within a unit in the last place; 0 for -inf; NaN for NaN, which Highway's gives as 0.
inline Vec exp_of(Vec x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(F32(), x));
}

// The maximum of term(i, lanes) over elements [0, count), -inf for none; NaN if any is NaN.
template <class Fn>
float max_vectors(std::int64_t count, const Fn& term) {
  const F32 d;
  const Vec lowest = hn::Neg(hn::Inf(d));
  Vec largest = lowest, nan = hn::Zero(d);
  for_vectors(0, count, [&](std::int64_t i, auto lanes) {
    Vec x = term(i, lanes);
    if constexpr (std::is_same_v<decltype(lanes), First>) {
      x = hn::IfThenElse(hn::FirstN(d, lanes.count), x, lowest);
    }
    largest = hn::Max(largest, x);
    nan = hn::IfThenElse(hn::IsNaN(x), x, nan);
  });
  if (!hn::AllFalse(d, hn::IsNaN(nan))) return std::numeric_limits<float>::quiet_NaN();
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
