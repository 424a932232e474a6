// Memory that lives for one op or one layer call.
#pragma once

#include <cstddef>

#include "kernels/core/arena.h"

namespace frugal {

// A LIFO allocator: a Mark gives everything allocated after it back at scope end. One thread, one
// stream: the memory is reused in stream order, so hand it to another stream only with an event
// between.
class Workspace {
 public:
  class Mark {
   public:
    explicit Mark(Workspace& owner) : owner_(owner), top_(owner.top_) {}
    ~Mark() { owner_.top_ = top_; }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;

   private:
    Workspace& owner_;
    std::size_t top_;
  };

  Workspace(Arena& arena, std::size_t bytes);
  // An endless workspace of null tensors: running a layer's allocations on it measures what they
  // need.
  static Workspace counting(Device device);

  // Contents are undefined. Throws Error(kInternal) when the planned bytes do not suffice.
  Tensor allocate(Shape shape, DType dtype);
  std::size_t high_water() const { return high_water_; }  // bytes

 private:
  explicit Workspace(Device device) : device_(device) {}

  Device device_;
  std::byte* base_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t top_ = 0;
  std::size_t high_water_ = 0;
};

}  // namespace frugal
