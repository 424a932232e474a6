#include "kernels/core/slot_pool.h"

namespace frugal {

SlotPool::SlotPool(Arena& arena, std::string_view name, std::size_t bytes_per_slot, int slots)
    : memory_(arena.allocate(name, {slots, static_cast<std::int64_t>(aligned(bytes_per_slot))},
                             DType::kU8)),
      bytes_per_slot_(aligned(bytes_per_slot)) {
  for (int slot = slots - 1; slot >= 0; --slot) free_.push_back(slot);
}

int SlotPool::acquire() {
  FRUGAL_CHECK(!free_.empty(), "no free slot: more micro-batches in flight than planned");
  const int slot = free_.back();
  free_.pop_back();
  return slot;
}

void SlotPool::release(int slot) {
  free_.push_back(slot);
}

Tensor SlotPool::view(int slot, std::size_t offset_bytes, Shape shape, DType dtype) const {
  Tensor out{nullptr, shape, dtype, memory_.device};
  FRUGAL_CHECK(offset_bytes + out.bytes() <= bytes_per_slot_, "view beyond the slot");
  if (memory_.data != nullptr) {
    out.data = memory_.data + static_cast<std::size_t>(slot) * bytes_per_slot_ + offset_bytes;
  }
  return out;
}

}  // namespace frugal
