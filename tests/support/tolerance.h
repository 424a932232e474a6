// How far a computed value may be from its reference. The only place where tests get a tolerance
// from.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/core/dtype.h"

namespace frugal::test {

// |actual - expected| <= absolute + relative * |expected|
struct Tolerance {
  double relative = 0.0;
  double absolute = 0.0;
};

// Distance from 1 to the next larger number.
inline double epsilon_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return std::ldexp(1.0, -23);
    case DType::kBF16:
      return std::ldexp(1.0, -7);
    case DType::kF16:
      return std::ldexp(1.0, -10);
    case DType::kF8E4M3:
      return std::ldexp(1.0, -3);
    case DType::kF8E5M2:
      return std::ldexp(1.0, -2);
    case DType::kI32:
    case DType::kU8:
      return 0.0;
  }
  return 0.0;
}

// For a value stored as dtype whose computation adds reduction_length terms of magnitude up to
// term, in f32, against a reference in double that reads the same inputs.
//   relative  one rounding to dtype (epsilon / 2), and a few f32 operations after the sum
//   absolute  a sum of n terms with random signs passes through partial sums of about sqrt(n) terms
//             and rounds n of them: the error's standard deviation is about 0.2 n epsilon term when
//             added one by one, so n epsilon term are five of them; vector lanes only do better
// intermediate: the dtype to which the terms themselves were rounded on the way (bf16
// probabilities); each then errs by epsilon / 2 on its own, so their sum by about
// sqrt(n) epsilon / 4: eight times that is allowed.
inline Tolerance tolerance(DType dtype, std::int64_t reduction_length = 1, double term = 1.0,
                           DType intermediate = DType::kF32) {
  const auto n = static_cast<double>(reduction_length);
  const double f32 = epsilon_of(DType::kF32);
  Tolerance out;
  out.relative = 0.5 * epsilon_of(dtype) + 8.0 * f32;
  out.absolute = (n + 8.0) * f32 * term;
  if (intermediate != DType::kF32) {
    out.absolute += 2.0 * std::sqrt(n) * epsilon_of(intermediate) * term;
  }
  return out;
}

// For GELU, or its derivative, of a product of n terms that comes to about 1. In 16 bits what GELU
// multiplies or is taken of may have been rounded before, and its tanh may be the hardware's, which
// errs by 2^-11: the result, or a product of up to 5, by half of 5 times that and a little more by
// the slope.
inline Tolerance gelu_tolerance(DType dtype, std::int64_t n) {
  Tolerance out = tolerance(dtype, n, 8.0);
  if (dtype == DType::kF32) return out;
  out.relative += 0.5 * epsilon_of(dtype);
  out.absolute += 0.2 * epsilon_of(dtype) + 4.0 * std::ldexp(1.0, -11);
  return out;
}

// For attention over up to `keys` keys or queries, all heads together, where `group` query heads
// read a key. Tensor cores take weights and their gradients in 16 bits: those of a row sum to 1, so
// rounding them is as if one term were rounded; a key's gradients sum over the group.
inline Tolerance attention_tolerance(DType dtype, std::int64_t keys, std::int64_t group,
                                     std::int64_t head_dim) {
  Tolerance out = tolerance(dtype, keys + head_dim, 8.0);
  if (dtype != DType::kF32) out.absolute += tolerance(dtype, group, 1.0, dtype).absolute;
  return out;
}

}  // namespace frugal::test
