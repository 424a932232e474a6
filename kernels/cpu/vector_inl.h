// Vectors of float32 over f32, bf16 and f16 memory. Compiled once per instruction set: include it
// only from files built by Highway's foreach_target.
//
// A tensor's last, shorter piece goes through a full vector in a buffer, so an element's bits never
// depend on where it stands in the tensor, nor on where the tensor was cut.
#if defined(FRUGAL_KERNELS_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FRUGAL_KERNELS_CPU_VECTOR_INL_H_
#undef FRUGAL_KERNELS_CPU_VECTOR_INL_H_
#else
#define FRUGAL_KERNELS_CPU_VECTOR_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/core/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using Vec = hn::Vec<F32>;

// How many lanes of a vector exist in memory.
struct All {};
struct First {
  std::size_t count;
};

template <class D>
HWY_INLINE hn::Vec<D> load_as(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D>
HWY_INLINE hn::Vec<D> load_as(D d, const BFloat16* from) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}

// The halves of 16 low bits each. By integers and not by the processor's own conversion, which
// older ones lack, so that all have the bits of Float16.
template <class D>
HWY_INLINE hn::Vec<D> widen_halves(D d, hn::Vec<hn::RebindToUnsigned<D>> bits) {
  const hn::RebindToUnsigned<D> d32;
  const hn::RebindToSigned<D> i32;
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(d32, 0x8000)));
  const auto magnitude = hn::And(bits, hn::Set(d32, 0x7fff));
  const auto shifted = hn::ShiftLeft<13>(magnitude);
  const auto normal = hn::Add(shifted, hn::Set(d32, 112U << 23));  // the exponent's bias: 15 to 127
  const auto beyond = hn::Or(shifted, hn::Set(d32, 0x7f800000));   // infinity and NaN
  const auto small = hn::BitCast(d32, hn::Mul(hn::ConvertTo(d, hn::BitCast(i32, magnitude)),
                                              hn::Set(d, 5.9604644775390625e-8F)));  // 2^-24
  const auto finite = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d32, 0x400)), small, normal);
  const auto all = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d32, 0x7c00)), finite, beyond);
  return hn::BitCast(d, hn::Or(all, sign));
}
template <class D>
HWY_INLINE hn::Vec<D> load_as(D d, const Float16* from) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  return widen_halves(
      d, hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(from))));
}

template <class T>
HWY_INLINE Vec load(const T* from, All) {
  return load_as(F32(), from);
}
// Lanes that do not exist are 0.
template <class T>
Vec load(const T* from, First lanes) {
  HWY_ALIGN T buffer[hn::MaxLanes(F32())] = {};
  std::memcpy(buffer, from, lanes.count * sizeof(T));
  return load(buffer, All());
}

HWY_INLINE void store(Vec v, float* to, All) {
  hn::StoreU(v, F32(), to);
}
// In the low 16 bits, rounded like BFloat16(float): to nearest, ties to even; NaN stays NaN.
HWY_INLINE hn::Vec<hn::RebindToUnsigned<F32>> bfloat16_bits(Vec v) {
  const hn::RebindToUnsigned<F32> d32;
  const auto bits = hn::BitCast(d32, v);
  const auto high = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(high, hn::Set(d32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7fff))));
  const auto quiet = hn::Or(high, hn::Set(d32, 0x40));
  return hn::IfThenElse(hn::RebindMask(d32, hn::IsNaN(v)), quiet, rounded);
}
HWY_INLINE void store(Vec v, BFloat16* to, All) {
  const hn::Rebind<std::uint16_t, F32> d16;
  hn::StoreU(hn::TruncateTo(d16, bfloat16_bits(v)), d16, reinterpret_cast<std::uint16_t*>(to));
}
// Rounds like Float16(float), step by step as there.
HWY_INLINE void store(Vec v, Float16* to, All) {
  const F32 d;
  const hn::Rebind<std::uint16_t, F32> d16;
  const hn::RebindToUnsigned<F32> d32;
  const auto bits = hn::BitCast(d32, v);
  const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 0x8000));
  const auto magnitude = hn::And(bits, hn::Set(d32, 0x7fffffff));
  const auto steps = hn::Add(hn::Mul(hn::Abs(v), hn::Set(d, 16777216.0F)), hn::Set(d, 8388608.0F));
  const auto small = hn::And(hn::BitCast(d32, steps), hn::Set(d32, 0x7ff));
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(d32, 1));
  const auto rounded = hn::Add(magnitude, hn::Add(odd, hn::Set(d32, 0xfff)));
  const auto normal =
      hn::Min(hn::Sub(hn::ShiftRight<13>(rounded), hn::Set(d32, 112U << 10)), hn::Set(d32, 0x7c00));
  const auto finite = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d32, 0x38800000)), small, normal);
  const auto all = hn::IfThenElse(hn::RebindMask(d32, hn::IsNaN(v)), hn::Set(d32, 0x7e00), finite);
  hn::StoreU(hn::TruncateTo(d16, hn::Or(all, sign)), d16, reinterpret_cast<std::uint16_t*>(to));
}
template <class T>
void store(Vec v, T* to, First lanes) {
  HWY_ALIGN T buffer[hn::MaxLanes(F32())];
  store(v, buffer, All());
  std::memcpy(to, buffer, lanes.count * sizeof(T));
}

// Calls fn(i, lanes) for the vectors that begin at element i of [begin, end).
//
// Takes fn by value and inlined, and so should fn take its pointers and constants ([=]): then they
// stay in registers. Through a reference, every store would make the compiler load them again.
template <class Fn>
HWY_INLINE void for_vectors(std::int64_t begin, std::int64_t end, Fn fn) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(F32()));
  std::int64_t i = begin;
  for (; i + lanes <= end; i += lanes) fn(i, All());
  if (i < end) fn(i, First{static_cast<std::size_t>(end - i)});
}

// Sum of term(i, lanes) over elements [0, count), in an order fixed by count alone.
template <class Fn>
HWY_INLINE float sum_vectors(std::int64_t count, Fn term) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  Vec s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;  // hide the latency of addition
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    s0 = hn::Add(s0, term(i, All()));
    s1 = hn::Add(s1, term(i + lanes, All()));
    s2 = hn::Add(s2, term(i + 2 * lanes, All()));
    s3 = hn::Add(s3, term(i + 3 * lanes, All()));
  }
  for (; i + lanes <= count; i += lanes) s0 = hn::Add(s0, term(i, All()));
  if (i < count) {
    const auto rest = static_cast<std::size_t>(count - i);
    s1 = hn::Add(s1, hn::IfThenElseZero(hn::FirstN(d, rest), term(i, First{rest})));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
