// Sums over the rows of matrices, added to vectors of their columns: gradients of norms and biases.
//
// A block owns a strip of columns and walks over all rows: one pass, no scratch, and one order of
// sums without atomics.
#pragma once

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/launch.h"

namespace frugal::cu {

// A strip is so many packs wide; the block's other threads take other rows.
constexpr int kStripPacks = 4, kStripThreads = 512, kStripRows = kStripThreads / kStripPacks;

template <int kSums>
struct ColumnSums {
  float* out[kSums];  // += ; null: not wanted
  std::int64_t rows, width;
};

// term(row, first column, sums): adds the pack's elements of that row to sums[kSums][kSize].
template <int kSize, int kSums, class Term>
__global__ void column_sums_kernel(ColumnSums<kSums> a, Term term) {
  const int own_pack = static_cast<int>(threadIdx.x) % kStripPacks;
  const int own_row = static_cast<int>(threadIdx.x) / kStripPacks;
  const std::int64_t column =
      (static_cast<std::int64_t>(blockIdx.x) * kStripPacks + own_pack) * kSize;
  float own[kSums][kSize] = {};
  if (column < a.width) {
    for (std::int64_t row = own_row; row < a.rows; row += kStripRows) term(row, column, own);
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
    if (own_row == 0 && column < a.width) {
#pragma unroll
      for (int e = 0; e < kSize; ++e) {
        a.out[n][column + e] += sums[e * kStripThreads + threadIdx.x];
      }
    }
  }
}

template <int kSize, int kSums, class Term>
void add_column_sums(Stream& stream, std::string_view name, const ColumnSums<kSums>& a,
                     const Term& term) {
  if (a.rows == 0) return;
  constexpr std::int64_t kStrip = kStripPacks * kSize;
  launch(stream, name,
         {.blocks_x = (a.width + kStrip - 1) / kStrip,
          .threads = kStripThreads,
          .shared_bytes = kStripThreads * kSize * sizeof(float)},
         column_sums_kernel<kSize, kSums, Term>, a, term);
}

}  // namespace frugal::cu
