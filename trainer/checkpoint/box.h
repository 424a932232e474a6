// Boxes of global tensors: what layouts have in common.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "kernels/core/shape.h"

namespace frugal {

// Offsets beyond the rank of extent are 0.
struct Box {
  std::array<std::int64_t, 4> offset{};
  Shape extent;
};

// Number of elements; nullopt where a size is negative or the product (zeros taken as ones, so that
// strides are safe too) is more than 2^56.
std::optional<std::int64_t> checked_numel(const Shape& shape);

// REQUIRES: both shapes passed checked_numel.
bool contains(const Shape& global, const Box& box);

// Sizes without overlap are 0. REQUIRES: same rank.
Box intersect(const Box& a, const Box& b);

// Whether every element of global is in exactly one box. A sum of boxes is known by its signed
// corners (they are its mixed difference), so those of the boxes must add up to those of global: n
// log n, no pairs compared. REQUIRES: boxes lie in global.
bool covers_once(const Shape& global, std::span<const Box> boxes);

// Calls run(element of a, element of b, count) for the longest runs that lie contiguous in both
// row- major boxes, ascending in a. REQUIRES: same rank.
void for_each_common_run(const Box& a, const Box& b,
                         const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& run);

}  // namespace frugal
