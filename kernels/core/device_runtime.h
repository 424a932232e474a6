// What core needs from a device that is not the CPU: memory, streams and what it is. The device's
// backend registers it at start; the CPU is built in.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/core/device.h"

namespace frugal {

class Stream;

struct DeviceInfo {
  std::string name;                              // as its maker says
  int capability = 0;                            // of CUDA: 75, 86, 90, ...
  std::size_t memory_bytes = 0, free_bytes = 0;  // the device's, now
};

class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;
  // Zero-filled memory, at least 64-byte aligned. Throws Error(kPreflight) when the device has too
  // little.
  virtual void* allocate(Device device, std::size_t bytes) const = 0;
  virtual void release(Device device, void* memory, std::size_t bytes) const = 0;
  // Zero-filled host memory that the device copies to and from at its full speed, while the host
  // goes on. Throws as above.
  virtual void* allocate_host(Device device, std::size_t bytes) const = 0;
  virtual void release_host(Device device, void* memory, std::size_t bytes) const = 0;
  virtual std::unique_ptr<Stream> make_stream(Device device, std::string_view name) const = 0;
  virtual DeviceInfo info(Device device) const = 0;
  // The same in every process that sees the device, and no other's. Takes none of its memory, which
  // info may.
  virtual std::string id(Device device) const = 0;
};

// runtime must live until the program ends. Not thread-safe: call before ranks start.
void register_device_runtime(DeviceType type, const DeviceRuntime* runtime);

// Throws Error(kPreflight) "this binary was built without CUDA" when nothing is registered for
// type.
const DeviceRuntime& device_runtime(DeviceType type);

}  // namespace frugal
