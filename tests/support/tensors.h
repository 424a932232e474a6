// Tensors that tests own, filled from counter-based random numbers.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "kernels/core/device_runtime.h"
#include "kernels/core/rng.h"
#include "kernels/core/tensor.h"

namespace frugal::test {

// Where tensors that tests own lie from now on: on the host, or in host memory that a device
// reaches by itself and that its kernels may be given as the device's.
inline Device& owned_device() {
  static Device device;
  return device;
}

// Owns its memory; poisoned (NaN, or large negative integers) until filled. Exactly as large as the
// tensor, so that AddressSanitizer sees its ends.
class Owned {
 public:
  Owned(Shape shape, DType dtype)
      : tensor_{nullptr, shape, dtype, owned_device()},
        bytes_(allocate(), Free{tensor_.device, tensor_.bytes()}) {
    std::memset(bytes_.get(), 0xff, tensor_.bytes());
    tensor_.data = bytes_.get();
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Owned(Owned&& other) noexcept = default;
  operator Tensor() const { return tensor_; }       // NOLINT(google-explicit-constructor)
  operator ConstTensor() const { return tensor_; }  // NOLINT(google-explicit-constructor)
  const Tensor& get() const { return tensor_; }

  float at(std::int64_t i) const {
    return visit_float(tensor_.dtype,
                       [&]<class T>() { return static_cast<float>(tensor_.as<T>()[i]); });
  }
  void set(std::int64_t i, float value) {
    visit_float(tensor_.dtype, [&]<class T>() { tensor_.as<T>()[i] = T(value); });
  }
  void copy_from(const Owned& other) {
    std::memcpy(tensor_.data, other.tensor_.data, tensor_.bytes());
  }
  std::vector<std::byte> bits() const { return {tensor_.data, tensor_.data + tensor_.bytes()}; }

 private:
  static constexpr std::align_val_t kAligned{64};
  struct Free {
    Device device;
    std::size_t bytes;
    void operator()(std::byte* memory) const {
      if (on_host(device)) return ::operator delete(memory, kAligned);
      device_runtime(device.type).release_host(device, memory, bytes);
    }
  };

  std::byte* allocate() const {
    const Device device = tensor_.device;
    if (on_host(device)) {
      return static_cast<std::byte*>(::operator new(tensor_.bytes(), kAligned));
    }
    return static_cast<std::byte*>(
        device_runtime(device.type).allocate_host(device, tensor_.bytes()));
  }

  Tensor tensor_;
  std::unique_ptr<std::byte, Free> bytes_;
};

inline Owned random_tensor(Shape shape, DType dtype, std::uint64_t key, float scale = 1.0F,
                           float mean = 0.0F) {
  Owned out(shape, dtype);
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    out.set(i, mean + scale * normal_at(key, static_cast<std::uint64_t>(i)));
  }
  return out;
}

inline Owned zeros(Shape shape, DType dtype) {
  Owned out(shape, dtype);
  std::memset(out.get().data, 0, out.get().bytes());
  return out;
}

inline Owned copy_of(const Owned& other) {
  Owned out(other.get().shape, other.get().dtype);
  out.copy_from(other);
  return out;
}

// Integers in [low, high).
inline Owned random_ids(std::int64_t count, std::int32_t low, std::int32_t high,
                        std::uint64_t key) {
  Owned out({count}, DType::kI32);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto word = philox4x32(key, static_cast<std::uint64_t>(i))[0];
    out.get().as<std::int32_t>()[i] =
        low + static_cast<std::int32_t>(word % static_cast<std::uint32_t>(high - low));
  }
  return out;
}

}  // namespace frugal::test
