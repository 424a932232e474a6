#include "kernels/core/workspace.h"

#include <algorithm>

namespace frugal {

Workspace::Workspace(Arena& arena, std::size_t bytes) : device_(arena.device()), capacity_(bytes) {
  base_ = arena.allocate("workspace", {static_cast<std::int64_t>(bytes)}, DType::kU8).data;
}

Workspace Workspace::counting(Device device) {
  return Workspace(device);
}

Tensor Workspace::allocate(Shape shape, DType dtype) {
  Tensor out{nullptr, shape, dtype, device_};
  const std::size_t bytes = aligned(out.bytes());
  if (base_ != nullptr) {
    FRUGAL_CHECK(top_ + bytes <= capacity_, "workspace of ", capacity_, " bytes, ", top_,
                 " in use, has no room for ", bytes);
    out.data = base_ + top_;
  }
  top_ += bytes;
  high_water_ = std::max(high_water_, top_);
  return out;
}

}  // namespace frugal
