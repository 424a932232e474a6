#include "kernels/core/arena.h"

#include <algorithm>
#include <iomanip>
#include <ostream>
#include <utility>

#include "kernels/core/device_runtime.h"

namespace frugal {

Arena::Arena(Device device, std::size_t bytes)
    : device_(device),
      block_(static_cast<std::byte*>(
          device_runtime(device.type).allocate(device, std::max(bytes, kAlignment)))),
      capacity_(std::max(bytes, kAlignment)) {}

Arena Arena::counting(Device device) {
  return Arena(device);
}

Arena::Arena(Arena&& other) noexcept
    : device_(other.device_),
      block_(std::exchange(other.block_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)),
      used_(std::exchange(other.used_, 0)),
      entries_(std::move(other.entries_)) {}

Arena::~Arena() {
  if (block_ != nullptr) device_runtime(device_.type).release(device_, block_, capacity_);
}

Tensor Arena::allocate(std::string_view name, Shape shape, DType dtype) {
  Tensor out{nullptr, shape, dtype, device_};
  const std::size_t bytes = (out.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  if (!is_counting()) {
    FRUGAL_CHECK(used_ + bytes <= capacity_, "arena of ", capacity_, " bytes has no room for '",
                 name, "' of ", bytes);
    out.data = block_ + used_;
  }
  used_ += bytes;
  entries_.push_back({std::string(name), bytes});
  return out;
}

void Arena::report(std::ostream& out) const {
  auto sorted = entries_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Entry& a, const Entry& b) { return a.bytes > b.bytes; });
  for (const auto& entry : sorted)
    out << std::setw(14) << entry.bytes << "  " << entry.name << '\n';
  out << std::setw(14) << used_ << "  total bytes\n";
}

}  // namespace frugal
