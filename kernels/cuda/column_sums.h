// Sums over the rows of matrices, added to vectors of their columns: gradients of norms and biases.
//
// A block owns a strip of columns in a part of the rows; the parts' sums are added in order by a
// second kernel. How many parts there are depends on the matrix alone, so the order of all sums is
// fixed, without atomics and on every card.
#pragma once

#include <algorithm>

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/launch.h"

namespace frugal::cu {

// A strip is 128 bytes of a row; the block's other threads take other rows.
constexpr int kStripPacks = 8, kStripThreads = 256, kStripRows = kStripThreads / kStripPacks;
// Enough blocks for the largest cards, each with enough rows to be worth its sums.
constexpr std::int64_t kWantedBlocks = 1024, kLeastPartRows = 8 * kStripRows, kMostParts = 64;

template <int kSums>
struct ColumnSums {
  float* out[kSums];  // += ; null: not wanted
  std::int64_t rows, width;
  std::int64_t part_rows = 0;
  float* parts = nullptr;  // [parts, kSums, width]; null: there is but one
};

// term(row, first column, sums): adds the pack's elements of that row to sums[kSums][kSize].
template <int kSize, int kSums, class Term>
__global__ void column_sums_kernel(ColumnSums<kSums> a, Term term) {
  const int own_pack = static_cast<int>(threadIdx.x) % kStripPacks;
  const int own_row = static_cast<int>(threadIdx.x) / kStripPacks;
  const std::int64_t column =
      (static_cast<std::int64_t>(blockIdx.x) * kStripPacks + own_pack) * kSize;
  const std::int64_t first = blockIdx.y * a.part_rows;
  const std::int64_t end = std::min(first + a.part_rows, a.rows);
  float own[kSums][kSize] = {};
  if (column < a.width) {
#pragma unroll 4
    for (std::int64_t row = first + own_row; row < end; row += kStripRows) term(row, column, own);
  }
  // The rows' sums, halved until one is left.
  float* sums = shared<float>();
#pragma unroll
  for (int n = 0; n < kSums; ++n) {
    if (a.out[n] == nullptr) continue;
    __syncthreads();  // the last sum's readers are done
#pragma unroll
    for (int e = 0; e < kSize; ++e) sums[e * kStripThreads + threadIdx.x] = own[n][e];
    for (int half = kStripRows / 2; half > 0; half /= 2) {
      __syncthreads();
      if (own_row < half) {
#pragma unroll
        for (int e = 0; e < kSize; ++e) {
          float* place = sums + e * kStripThreads + threadIdx.x;
          *place += place[half * kStripPacks];
        }
      }
    }
    if (own_row != 0 || column >= a.width) continue;
    float* part =
        a.parts == nullptr ? nullptr : a.parts + (blockIdx.y * kSums + n) * a.width + column;
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      const float sum = sums[e * kStripThreads + threadIdx.x];
      if (part != nullptr) {
        part[e] = sum;
      } else {
        a.out[n][column + e] += sum;
      }
    }
  }
}

// A thread for each column and sum.
template <int kSums>
__global__ void column_parts_kernel(ColumnSums<kSums> a, std::int64_t parts) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kItemThreads + threadIdx.x;
  if (i >= kSums * a.width) return;
  float* out = nullptr;
#pragma unroll
  for (int n = 0; n < kSums; ++n) {
    if (i / a.width == n) out = a.out[n];
  }
  if (out == nullptr) return;
  float sum = 0.0F;
  for (std::int64_t part = 0; part < parts; ++part) sum += a.parts[part * kSums * a.width + i];
  out[i % a.width] += sum;
}

template <int kSize, int kSums, class Term>
void add_column_sums(Stream& stream, std::string_view name, ColumnSums<kSums> a, const Term& term) {
  if (a.rows == 0) return;
  constexpr std::int64_t kStrip = kStripPacks * kSize;
  const auto divide_up = [](std::int64_t x, std::int64_t y) { return (x + y - 1) / y; };
  const std::int64_t strips = divide_up(a.width, kStrip);
  const std::int64_t wanted =
      std::min(divide_up(kWantedBlocks, std::max<std::int64_t>(strips, 1)), kMostParts);
  a.part_rows = std::max(divide_up(a.rows, wanted), kLeastPartRows);
  const std::int64_t parts = divide_up(a.rows, a.part_rows);
  if (parts > 1) {
    a.parts = static_cast<float*>(
        scratch(stream, static_cast<std::size_t>(parts * kSums * a.width) * sizeof(float)));
  }
  launch(stream, name,
         {.blocks_x = strips,
          .blocks_y = parts,
          .threads = kStripThreads,
          .shared_bytes = kStripThreads * kSize * sizeof(float)},
         column_sums_kernel<kSize, kSums, Term>, a, term);
  if (parts > 1) {
    launch(stream, name, thread_for_each(kSums * a.width), column_parts_kernel<kSums>, a, parts);
  }
}

}  // namespace frugal::cu
