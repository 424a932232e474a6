// Matrix fragments of a warp on the CPU, as the PTX ISA lays them out over the lanes ("Matrix
// fragments for mma.m16n8k16 with floating point type", "ldmatrix").
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/cuda/emulation/emulation.h"

namespace frugal::emulation {

constexpr unsigned kWholeWarp = 0xffffffffU;

// The registers that a lane brings to a product: pairs of 16-bit elements, the first in the low
// half.
struct MmaOperands {
  std::array<std::uint32_t, 4> a;
  std::array<std::uint32_t, 2> b;
};

// Element of a register's pair.
template <class T>
float element_of(std::uint32_t pair, int index) {
  T out;
  out.bits = static_cast<std::uint16_t>(pair >> (16 * index));
  return static_cast<float>(out);
}

// d += a b of 16x16 and 16x8 elements, in float32, k ascending. A lane is `group` = lane / 4 and
// `place` = lane % 4:
//   a   register r holds row group + 8 (r % 2), columns 2 place + 8 (r / 2) and the next
//   b   register r holds rows 2 place + 8 r and the next, column group
//   d   element i is row group + 8 (i / 2), column 2 place + i % 2
template <class T>
void mma_16x8x16(float (&d)[4], const MmaOperands& own) {
  offer(kWholeWarp, &own, sizeof own);
  const int group = lane() / 4, place = lane() % 4;
  float a[2][16], b[16][2];
  for (int other = 0; other < 4; ++other) {
    MmaOperands from_row, from_column[2];
    std::memcpy(&from_row, offered_by(group * 4 + other), sizeof from_row);
    for (int column = 0; column < 2; ++column) {
      std::memcpy(&from_column[column], offered_by((2 * place + column) * 4 + other),
                  sizeof from_row);
    }
    for (int half = 0; half < 2; ++half) {
      for (int index = 0; index < 2; ++index) {
        const std::size_t k = 2 * static_cast<std::size_t>(other) +
                              8 * static_cast<std::size_t>(half) + static_cast<std::size_t>(index);
        for (std::size_t i = 0; i < 2; ++i) {
          a[i][k] = element_of<T>(from_row.a[i + 2 * static_cast<std::size_t>(half)], index);
          b[k][i] = element_of<T>(from_column[i].b[static_cast<std::size_t>(half)], index);
        }
      }
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 16; ++k) d[i] = std::fmaf(a[i / 2][k], b[k][i % 2], d[i]);
  }
}

// Loads four 8x8 matrices of 16-bit elements. row: where a row of 16 bytes lies in shared memory,
// lane l's being row l % 8 of matrix l / 8. Register m is of matrix m: row lane / 4, columns
// 2 (lane % 4) and the next; transposed: column lane / 4, rows 2 (lane % 4) and the next.
inline void ldmatrix_x4(std::uint32_t (&out)[4], const void* row, bool transposed) {
  check_shared(row, 16, "a row of a matrix");
  offer(kWholeWarp, row, 16);
  const auto group = static_cast<std::size_t>(lane() / 4);
  const auto place = static_cast<std::size_t>(lane() % 4);
  for (int m = 0; m < 4; ++m) {
    std::uint16_t pair[2];
    for (std::size_t i = 0; i < 2; ++i) {
      const std::size_t r = transposed ? 2 * place + i : group;
      const std::size_t c = transposed ? group : 2 * place + i;
      std::memcpy(&pair[i], offered_by(8 * m + static_cast<int>(r)) + 2 * c, 2);
    }
    out[m] = static_cast<std::uint32_t>(pair[0]) | static_cast<std::uint32_t>(pair[1]) << 16;
  }
}

}  // namespace frugal::emulation
