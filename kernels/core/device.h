#pragma once

#include <cstdint>

namespace frugal {

enum class DeviceType : std::uint8_t { kCpu, kCuda };

struct Device {
  DeviceType type = DeviceType::kCpu;
  std::int8_t index = 0;
  bool operator==(const Device&) const = default;
};

// Whether ordinary code may touch the memory of device.
constexpr bool on_host(Device device) {
  return device.type == DeviceType::kCpu;
}

}  // namespace frugal
