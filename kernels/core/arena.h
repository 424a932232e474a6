// Memory that lives as long as the run: parameters, gradients, optimizer state, slots.
#pragma once

#include <cstddef>
#include <string_view>

#include "kernels/core/tensor.h"

namespace frugal {

// Where every allocation begins, and views inside one: a vector never crosses into a neighbour's.
inline constexpr std::size_t kAlignment = 64;
inline constexpr std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// A bump allocator over one block. Owned by the run; one thread. Names are for messages.
class Arena {
 public:
  // Throws Error(kPreflight) when the device has less than bytes.
  Arena(Device device, std::size_t bytes);
  // Hands out null tensors and only adds up: the same code that runs the model plans its memory.
  static Arena counting(Device device);
  // Host memory that copies to and from device go through: pinned where the device wants that.
  static Arena host_side(Device device, std::size_t bytes);

  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&&) = delete;
  Arena(const Arena&) = delete;
  ~Arena();

  // A zero-filled tensor. Throws Error(kInternal) when the plan was too small.
  Tensor allocate(std::string_view name, Shape shape, DType dtype);
  // Of a host_side() arena, or one that counts for it: where the host reads and writes what t
  // holds. t itself where that lies on the host, otherwise a tensor alike; ops::copy goes between
  // the two.
  Tensor mirror(std::string_view name, const Tensor& t);
  std::size_t used() const { return used_; }  // bytes
  bool is_counting() const { return block_ == nullptr; }
  Device device() const { return device_; }

 private:
  explicit Arena(Device device) : device_(device) {}

  Device device_;
  Device beside_;  // the device that host memory was allocated for; otherwise device_ itself
  std::byte* block_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t used_ = 0;
};

}  // namespace frugal
