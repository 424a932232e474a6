#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace frugal {

// Up to four sizes, outermost first. Unused entries of dim are 1. Rank 0 is a scalar.
struct Shape {
  std::array<std::int64_t, 4> dim{1, 1, 1, 1};
  int rank = 0;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> sizes) {
    for (auto size : sizes) dim[static_cast<std::size_t>(rank++)] = size;
  }
  constexpr std::int64_t operator[](int i) const { return dim[static_cast<std::size_t>(i)]; }
  constexpr std::int64_t numel() const { return dim[0] * dim[1] * dim[2] * dim[3]; }
  bool operator==(const Shape&) const = default;
};

std::string to_string(const Shape& shape);  // "[2, 3]"

}  // namespace frugal
