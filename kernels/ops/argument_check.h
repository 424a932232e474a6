// What every public op function does before it dispatches: one check of shapes, dtypes and devices
// for all backends. Never reads data, so it works on the null tensors of a planning stream.
#pragma once

#include <initializer_list>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

// What is computed with.
inline constexpr std::initializer_list<DType> kFloats{DType::kF32, DType::kBF16, DType::kF16};

// Lives on the stack of one op call. Throws Error(kInternal) with the op, the argument, what it is
// and what it should be.
class ArgumentCheck {
 public:
  ArgumentCheck(const Stream& stream, const char* op) : stream_(stream), op_(op) {}

  // t has exactly this shape and one of these dtypes, is on the stream's device, and has memory
  // unless it is empty or the stream only plans.
  void tensor(const char* name, const ConstTensor& t, const Shape& shape,
              std::initializer_list<DType> dtypes) const;
  // The same for an op that takes its elements in a row, whatever the shape.
  void elements(const char* name, const ConstTensor& t, std::int64_t count,
                std::initializer_list<DType> dtypes) const;
  // For an op that moves bytes: t has exactly this shape and dtype, is on the stream's device or on
  // the host, and has memory as above.
  void moved(const char* name, const ConstTensor& t, const Shape& shape, DType dtype) const;
  // Two dtypes that meet: alike, or one of them is f32.
  void one_is_f32(const char* name, const ConstTensor& t, const char* other,
                  const ConstTensor& u) const;
  void rank(const char* name, const ConstTensor& t, int rank) const;
  template <class... Parts>
  void require(bool condition, const Parts&... parts) const {
    if (!condition) reject(concat(parts...));
  }

 private:
  void has_shape(const char* name, const ConstTensor& t, const Shape& shape) const;
  void has_dtype(const char* name, const ConstTensor& t, std::initializer_list<DType> dtypes) const;
  void has_memory(const char* name, const ConstTensor& t) const;
  [[noreturn]] void reject(const std::string& why) const;

  const Stream& stream_;
  const char* op_;
};

}  // namespace frugal
