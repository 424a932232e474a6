// The exponential in single precision, half the instructions of Highway's, which also covers
// results below 1e-38. Compiled once per instruction set, like vector_inl.h.
#if defined(FRUGAL_KERNELS_CPU_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FRUGAL_KERNELS_CPU_EXP_INL_H_
#undef FRUGAL_KERNELS_CPU_EXP_INL_H_
#else
#define FRUGAL_KERNELS_CPU_EXP_INL_H_
#endif

#include <limits>
#include <type_traits>

#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

// exp(x) within a unit in the last place for x in [-87, 88]; NaN for NaN.
//
// x = n log(2) + r with |r| <= log(2) / 2, log(2) in two parts so that r is exact enough; the
// polynomial in r is within 3.1e-9 of exp(r), relative.
HWY_INLINE Vec exp_in_range(Vec x) {
  const F32 d;
  const hn::RebindToSigned<F32> d32;
  // Adding 1.5 * 2^23 rounds n into the low bits, 127 more makes it the exponent of 2^n.
  const Vec shift = hn::Set(d, 12582912.0F + 127.0F);
  const Vec shifted_n = hn::MulAdd(x, hn::Set(d, 1.44269504F), shift);
  const Vec n = hn::Sub(shifted_n, shift);
  const Vec coarse = hn::NegMulAdd(n, hn::Set(d, 0.693359375F), x);
  const Vec r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4F), coarse);
  Vec sum = hn::Set(d, 0.0013814598530782537F);
  sum = hn::MulAdd(sum, r, hn::Set(d, 0.008368716881839648F));
  sum = hn::MulAdd(sum, r, hn::Set(d, 0.04166838804765463F));
  sum = hn::MulAdd(sum, r, hn::Set(d, 0.16666520631686405F));
  sum = hn::MulAdd(sum, r, hn::Set(d, 0.49999993447785F));
  sum = hn::MulAdd(sum, r, hn::Set(d, 1.0F));
  sum = hn::MulAdd(sum, r, hn::Set(d, 1.0F));
  return hn::Mul(sum, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(d32, shifted_n))));
}

// The same for any x up to 88, -inf included: 0 below -87.
HWY_INLINE Vec exp_of(Vec x) {
  const Vec lowest = hn::Set(F32(), -87.0F);
  return hn::IfThenZeroElse(hn::Lt(x, lowest), exp_in_range(x));
}

// The maximum of term(i, lanes) over elements [0, count), -inf for none; NaN if any is NaN.
template <class Fn>
HWY_INLINE float max_vectors(std::int64_t count, Fn term) {
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
