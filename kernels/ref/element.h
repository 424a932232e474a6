// Element access in double, whatever the dtype: what makes the reference short.
#pragma once

#include <cstdint>

#include "kernels/core/tensor.h"

namespace frugal::ref {

inline double at(const ConstTensor& t, std::int64_t i) {
  if (t.dtype == DType::kI32) return t.as<std::int32_t>()[i];
  return visit_float(
      t.dtype, [&]<class T>() { return static_cast<double>(static_cast<float>(t.as<T>()[i])); });
}

// Floats round through float32, as every backend does; integers must be exact.
inline void put(const Tensor& t, std::int64_t i, double value) {
  if (t.dtype == DType::kI32) {
    t.as<std::int32_t>()[i] = static_cast<std::int32_t>(value);
    return;
  }
  visit_float(t.dtype, [&]<class T>() { t.as<T>()[i] = T(static_cast<float>(value)); });
}

}  // namespace frugal::ref
