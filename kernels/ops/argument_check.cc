#include "kernels/ops/argument_check.h"

#include <algorithm>
#include <string>

namespace frugal {
namespace {

std::string describe(const ConstTensor& t) {
  return concat(name_of(t.dtype), " ", to_string(t.shape));
}

}  // namespace

void ArgumentCheck::reject(const std::string& why) const {
  fail_check(__FILE__, __LINE__, op_, why);
}

void ArgumentCheck::tensor(const char* name, const ConstTensor& t, const Shape& shape,
                           std::initializer_list<DType> dtypes) const {
  require(t.shape == shape, name, " is ", describe(t), ", its shape must be ", to_string(shape));
  elements(name, t, shape.numel(), dtypes);
}

void ArgumentCheck::elements(const char* name, const ConstTensor& t, std::int64_t count,
                             std::initializer_list<DType> dtypes) const {
  require(t.numel() == count, name, " is ", describe(t), ", it must have ", count, " elements");
  if (std::find(dtypes.begin(), dtypes.end(), t.dtype) == dtypes.end()) {
    std::string allowed;
    for (const DType dtype : dtypes)
      allowed += concat(allowed.empty() ? "" : " or ", name_of(dtype));
    reject(concat(name, " is ", describe(t), ", its dtype must be ", allowed));
  }
  require(t.device == stream_.device(), name, " is not on the stream's device");
  require(t.data != nullptr || count == 0 || stream_.planning(), name, " (", describe(t),
          ") has no memory");
}

void ArgumentCheck::rank(const char* name, const ConstTensor& t, int rank) const {
  require(t.shape.rank == rank, name, " is ", describe(t), ", it must have ", rank, " dimensions");
}

}  // namespace frugal
