#pragma once

#include <cstdint>

namespace frugal {

enum class DeviceType : std::uint8_t { kCpu, kCuda };

struct Device {
  DeviceType type = DeviceType::kCpu;
  std::int8_t index = 0;
  bool operator==(const Device&) const = default;
};

}  // namespace frugal
