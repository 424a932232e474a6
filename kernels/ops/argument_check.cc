#include "kernels/ops/argument_check.h"

#include <algorithm>
#include <ostream>
#include <string>

namespace frugal {
namespace {

// Becomes text only when a check has failed: checks run at every op of every micro-batch.
struct Described {
  const ConstTensor& tensor;
};
std::ostream& operator<<(std::ostream& out, const Described& d) {
  return out << name_of(d.tensor.dtype) << " " << to_string(d.tensor.shape);
}

}  // namespace

void ArgumentCheck::reject(const std::string& why) const {
  fail_check(__FILE__, __LINE__, op_, why);
}

void ArgumentCheck::has_shape(const char* name, const ConstTensor& t, const Shape& shape) const {
  if (t.shape == shape) return;
  reject(concat(name, " is ", Described{t}, ", its shape must be ", to_string(shape)));
}

void ArgumentCheck::has_dtype(const char* name, const ConstTensor& t,
                              std::initializer_list<DType> dtypes) const {
  if (std::find(dtypes.begin(), dtypes.end(), t.dtype) != dtypes.end()) return;
  std::string allowed;
  for (const DType dtype : dtypes) allowed += concat(allowed.empty() ? "" : " or ", name_of(dtype));
  reject(concat(name, " is ", Described{t}, ", its dtype must be ", allowed));
}

void ArgumentCheck::has_memory(const char* name, const ConstTensor& t) const {
  require(t.data != nullptr || t.numel() == 0 || stream_.planning(), name, " (", Described{t},
          ") has no memory");
}

void ArgumentCheck::tensor(const char* name, const ConstTensor& t, const Shape& shape,
                           std::initializer_list<DType> dtypes) const {
  has_shape(name, t, shape);
  elements(name, t, shape.numel(), dtypes);
}

void ArgumentCheck::elements(const char* name, const ConstTensor& t, std::int64_t count,
                             std::initializer_list<DType> dtypes) const {
  require(t.numel() == count, name, " is ", Described{t}, ", it must have ", count, " elements");
  has_dtype(name, t, dtypes);
  require(t.device == stream_.device(), name, " is not on the stream's device");
  has_memory(name, t);
}

void ArgumentCheck::moved(const char* name, const ConstTensor& t, const Shape& shape,
                          DType dtype) const {
  has_shape(name, t, shape);
  has_dtype(name, t, {dtype});
  require(on_host(t.device) || t.device == stream_.device(), name,
          " is neither on the stream's device nor on the host");
  has_memory(name, t);
}

void ArgumentCheck::one_is_f32(const char* name, const ConstTensor& t, const char* other,
                               const ConstTensor& u) const {
  require(t.dtype == u.dtype || t.dtype == DType::kF32 || u.dtype == DType::kF32, name, " is ",
          Described{t}, ", ", other, " is ", Described{u}, ": one of them must be f32");
}

void ArgumentCheck::rank(const char* name, const ConstTensor& t, int rank) const {
  require(t.shape.rank == rank, name, " is ", Described{t}, ", it must have ", rank, " dimensions");
}

}  // namespace frugal
