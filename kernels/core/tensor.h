// A contiguous, row-major view of memory on one device. Owns nothing; copy freely, like std::span.
#pragma once

#include <cstddef>

#include "kernels/core/device.h"
#include "kernels/core/dtype.h"
#include "kernels/core/shape.h"

namespace frugal {

struct Tensor {
  std::byte* data = nullptr;
  Shape shape;
  DType dtype = DType::kF32;
  Device device;

  std::int64_t numel() const { return shape.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype); }
  // REQUIRES: T is the C++ type of dtype.
  template <class T>
  T* as() const {
    FRUGAL_CHECK(dtype == dtype_of<T>(), "tensor holds ", name_of(dtype), ", asked for ",
                 name_of(dtype_of<T>()));
    return reinterpret_cast<T*>(data);
  }
  Tensor slice(std::int64_t begin, std::int64_t end) const;  // along dimension 0: stays contiguous
  Tensor reshape(Shape to) const;                            // REQUIRES: same number of elements
};

// The read-only counterpart: a Tensor converts to it, never back. A default one means "not given"
// where an op's comment allows it; ask with given().
struct ConstTensor {
  const std::byte* data = nullptr;
  Shape shape;
  DType dtype = DType::kF32;
  Device device;

  ConstTensor() = default;
  ConstTensor(const Tensor& t)  // NOLINT(google-explicit-constructor)
      : data(t.data), shape(t.shape), dtype(t.dtype), device(t.device) {}

  std::int64_t numel() const { return shape.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype); }
  template <class T>
  const T* as() const {
    FRUGAL_CHECK(dtype == dtype_of<T>(), "tensor holds ", name_of(dtype), ", asked for ",
                 name_of(dtype_of<T>()));
    return reinterpret_cast<const T*>(data);
  }
  ConstTensor slice(std::int64_t begin, std::int64_t end) const;
  ConstTensor reshape(Shape to) const;
};

// Whether an optional tensor was passed. While planning, data is null but the shape is there.
inline bool given(const ConstTensor& t) {
  return t.data != nullptr || t.shape.rank > 0;
}

}  // namespace frugal
