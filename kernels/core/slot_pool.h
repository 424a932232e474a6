// Memory that lives from a micro-batch's forward to one of its backwards.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "kernels/core/arena.h"

namespace frugal {

// As many equal slots as the schedule's simulation says are in flight. One thread.
class SlotPool {
 public:
  SlotPool(Arena& arena, std::string_view name, std::size_t bytes_per_slot, int slots);

  // Throws Error(kInternal) when all are taken: the schedule holds more than it was simulated to.
  int acquire();
  void release(int slot);
  // A view at a byte offset of a slot; the caller planned the offsets. Null while planning.
  Tensor view(int slot, std::size_t offset_bytes, Shape shape, DType dtype) const;

 private:
  Tensor memory_;
  std::size_t bytes_per_slot_;
  std::vector<int> free_;
};

}  // namespace frugal
