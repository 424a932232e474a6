#include "trainer/checkpoint/box.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/core/check.h"

namespace frugal {
namespace {

constexpr std::int64_t kMaxElements = 1LL << 56;

using Index = std::array<std::int64_t, 4>;

std::int64_t element_of(const Box& box, const Index& index) {
  std::int64_t element = 0;
  for (std::size_t d = 0; d < 4; ++d) {
    element = element * box.extent.dim[d] + index[d] - box.offset[d];
  }
  return element;
}

// Steps index through box in row-major order of the dimensions before `depth`; false at the end.
bool advance(Index& index, const Box& box, std::size_t depth) {
  for (std::size_t d = depth; d-- > 0;) {
    if (++index[d] < box.offset[d] + box.extent.dim[d]) return true;
    index[d] = box.offset[d];
  }
  return false;
}

using Corner = std::pair<Index, int>;

void add_corners(std::vector<Corner>& corners, const Box& box, int sign) {
  const auto rank = static_cast<unsigned>(box.extent.rank);
  for (unsigned upper = 0; upper < (1U << rank); ++upper) {
    Corner corner{box.offset, sign};
    for (unsigned d = 0; d < rank; ++d) {
      if ((upper >> d & 1U) == 0) continue;
      corner.first[d] += box.extent.dim[d];
      corner.second = -corner.second;
    }
    corners.push_back(corner);
  }
}

}  // namespace

std::optional<std::int64_t> checked_numel(const Shape& shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape.dim) {
    if (size < 0 || __builtin_mul_overflow(product, std::max<std::int64_t>(size, 1), &product) ||
        product > kMaxElements) {
      return std::nullopt;
    }
  }
  return shape.numel();
}

bool contains(const Shape& global, const Box& box) {
  if (box.extent.rank != global.rank) return false;
  for (std::size_t d = 0; d < 4; ++d) {
    if (box.offset[d] < 0 || box.offset[d] > global.dim[d]) return false;
    if (box.extent.dim[d] > global.dim[d] - box.offset[d]) return false;
  }
  return true;
}

Box intersect(const Box& a, const Box& b) {
  Box both = a;
  for (std::size_t d = 0; d < 4; ++d) {
    const std::int64_t begin = std::max(a.offset[d], b.offset[d]);
    const std::int64_t end = std::min(a.offset[d] + a.extent.dim[d], b.offset[d] + b.extent.dim[d]);
    both.offset[d] = begin;
    both.extent.dim[d] = std::max<std::int64_t>(end - begin, 0);
  }
  return both;
}

bool covers_once(const Shape& global, std::span<const Box> boxes) {
  std::vector<Corner> corners;
  corners.reserve((boxes.size() + 1) << global.rank);
  add_corners(corners, {{}, global}, -1);
  for (const Box& box : boxes) add_corners(corners, box, 1);
  std::sort(corners.begin(), corners.end());
  for (std::size_t i = 0; i < corners.size();) {
    const Index here = corners[i].first;
    std::int64_t sum = 0;
    for (; i < corners.size() && corners[i].first == here; ++i) sum += corners[i].second;
    if (sum != 0) return false;
  }
  return true;
}

void for_each_common_run(const Box& a, const Box& b,
                         const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& run) {
  FRUGAL_CHECK(a.extent.rank == b.extent.rank);
  const Box both = intersect(a, b);
  if (both.extent.numel() == 0) return;
  std::size_t depth = 3;
  std::int64_t count = both.extent.dim[3];
  while (depth > 0 && both.extent.dim[depth] == a.extent.dim[depth] &&
         both.extent.dim[depth] == b.extent.dim[depth]) {
    count *= both.extent.dim[--depth];
  }
  Index index = both.offset;
  do {
    run(element_of(a, index), element_of(b, index), count);
  } while (advance(index, both, depth));
}

}  // namespace frugal
