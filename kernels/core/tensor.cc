#include "kernels/core/tensor.h"

namespace frugal {
namespace {

// Null tensors (planning) stay null.
template <class T>
T slice_of(const T& t, std::int64_t begin, std::int64_t end) {
  FRUGAL_CHECK(t.shape.rank >= 1 && 0 <= begin && begin <= end && end <= t.shape[0], "slice [",
               begin, ", ", end, ") of shape ", to_string(t.shape));
  T out = t;
  const std::int64_t row = t.shape[0] == 0 ? 0 : t.numel() / t.shape[0];
  if (out.data != nullptr) out.data += static_cast<std::size_t>(begin * row) * size_of(t.dtype);
  out.shape.dim[0] = end - begin;
  return out;
}

template <class T>
T reshaped(const T& t, const Shape& to) {
  FRUGAL_CHECK(t.numel() == to.numel(), "reshape of ", to_string(t.shape), " to ", to_string(to));
  T out = t;
  out.shape = to;
  return out;
}

}  // namespace

std::string to_string(const Shape& shape) {
  std::string out = "[";
  for (int i = 0; i < shape.rank; ++i) out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

Tensor Tensor::slice(std::int64_t begin, std::int64_t end) const {
  return slice_of(*this, begin, end);
}
Tensor Tensor::reshape(Shape to) const {
  return reshaped(*this, to);
}
ConstTensor ConstTensor::slice(std::int64_t begin, std::int64_t end) const {
  return slice_of(*this, begin, end);
}
ConstTensor ConstTensor::reshape(Shape to) const {
  return reshaped(*this, to);
}

}  // namespace frugal
