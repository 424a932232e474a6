#include "kernels/core/arena.h"

#include <algorithm>
#include <utility>

#include "kernels/core/device_runtime.h"

namespace frugal {

Arena::Arena(Device device, std::size_t bytes)
    : device_(device),
      beside_(device),
      block_(static_cast<std::byte*>(
          device_runtime(device.type).allocate(device, std::max(bytes, kAlignment)))),
      capacity_(std::max(bytes, kAlignment)) {}

Arena Arena::counting(Device device) {
  return Arena(device);
}

Arena Arena::host_side(Device device, std::size_t bytes) {
  if (on_host(device)) return {device, bytes};
  Arena out{Device{}};
  out.beside_ = device;
  out.capacity_ = std::max(bytes, kAlignment);
  out.block_ =
      static_cast<std::byte*>(device_runtime(device.type).allocate_host(device, out.capacity_));
  return out;
}

Arena::Arena(Arena&& other) noexcept
    : device_(other.device_),
      beside_(other.beside_),
      block_(std::exchange(other.block_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)),
      used_(std::exchange(other.used_, 0)) {}

Arena::~Arena() {
  if (block_ == nullptr) return;
  const DeviceRuntime& runtime = device_runtime(beside_.type);
  if (device_ == beside_) {
    runtime.release(device_, block_, capacity_);
  } else {
    runtime.release_host(beside_, block_, capacity_);
  }
}

Tensor Arena::allocate(std::string_view name, Shape shape, DType dtype) {
  Tensor out{nullptr, shape, dtype, device_};
  const std::size_t bytes = aligned(out.bytes());
  if (!is_counting()) {
    FRUGAL_CHECK(used_ + bytes <= capacity_, "arena of ", capacity_, " bytes has no room for '",
                 name, "' of ", bytes);
    out.data = block_ + used_;
  }
  used_ += bytes;
  return out;
}

Tensor Arena::mirror(std::string_view name, const Tensor& t) {
  FRUGAL_CHECK(on_host(device_), "mirrors lie on the host");
  return on_host(t.device) ? t : allocate(name, t.shape, t.dtype);
}

}  // namespace frugal
