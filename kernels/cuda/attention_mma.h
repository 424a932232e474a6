// Attention on tensor cores: tiles in shared memory, and what a warp computes with them.
//
// A warp owns 16 rows. Of 16 x 8 results a lane holds two neighbours in row lane / 4 and two in the
// row 8 below: element i is row lane / 4 + 8 (i / 2), column 2 (lane % 4) + i % 2.
#pragma once

#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/cuda/attention_problem.h"
#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/mma.h"

namespace frugal::cu {

constexpr int kWarpRows = 16;
constexpr int kPiece = 8;  // elements in 16 bytes

constexpr float kLog2E = 1.44269504F;  // exp(x) = exp2(x log2(e))

// Rows of kDim elements in shared memory. Pieces of a row change places within eight, so that the
// same piece of eight rows lies in all banks.
template <class T, int kDim>
struct MmaTile {
  static_assert(kDim % (8 * kPiece) == 0);
  T* at;
  __device__ T* piece(int row, int index) const {
    return at + row * kDim + (index ^ (row % 8)) * kPiece;
  }
};

// Rows in global memory: `count` of them exist, with `dim` elements, a multiple of kPiece.
template <class T>
struct GlobalRows {
  T* at;
  int stride;  // elements
  int count, dim;
};

// Begins to copy kRows rows to a tile; what does not exist is zero. Eight threads copy a row, so a
// thread's pieces all stand at one place of their eight.
template <int kRows, int kThreads, class T, int kDim>
__device__ __forceinline__ void copy_rows(MmaTile<T, kDim> to, const GlobalRows<const T>& from) {
  constexpr int kStep = kThreads / 8;
  static_assert(kStep % 8 == 0 && kRows % kStep == 0);
  const int own = static_cast<int>(threadIdx.x) / 8, piece = static_cast<int>(threadIdx.x) % 8;
  const T* row = from.at + own * from.stride + piece * kPiece;
  T* place = to.piece(own, piece);
#pragma unroll 1
  for (int i = 0; i < kRows; i += kStep) {
#pragma unroll
    for (int column = 0; column < kDim; column += 8 * kPiece) {
      const bool exists = own + i < from.count && column + piece * kPiece < from.dim;
      copy_async(place + i * kDim + column, exists ? row + column : from.at, exists);
    }
    row += kStep * from.stride;
  }
}

// sums += the products of 16 rows of `rows`, from first_row on, with the rows of `tile`.
template <int kColumns, class T, int kDim>
__device__ __forceinline__ void add_row_products(float (&sums)[kColumns / 8][4],
                                                 MmaTile<T, kDim> rows, int first_row,
                                                 MmaTile<T, kDim> tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int row = first_row + lane % 16, column = lane / 16 * 8 + lane % 8;
  // As far as registers last; at 64, those of three blocks.
  [[maybe_unused]] constexpr int kUnroll = kDim == 128 || kDim == 192 ? 4 : 1;
#pragma unroll kUnroll
  for (int k = 0; k < kDim / 16; ++k) {
    unsigned a[4];
    ldmatrix_x4(a, rows.piece(row, 2 * k + lane / 16));
#pragma unroll
    for (int n = 0; n < kColumns / 16; ++n) {
      unsigned b[4];
      ldmatrix_x4(b, tile.piece(16 * n + column, 2 * k + lane / 8 % 2));
      mma_16x8x16<T>(sums[2 * n], a, b[0], b[1]);
      mma_16x8x16<T>(sums[2 * n + 1], a, b[2], b[3]);
    }
  }
}

// Sums over the rows of a tile take their weights from registers.
template <int kColumns>
using MmaWeights = unsigned[kColumns / 16][4];

// A product's result, rounded, as the weights of another.
template <class T, int kColumns>
__device__ __forceinline__ void round_weights(MmaWeights<kColumns>& out,
                                              const float (&x)[kColumns / 8][4]) {
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      out[n / 2][n % 2 * 2 + r] = pack_pair<T>(x[n][2 * r], x[n][2 * r + 1]);
    }
  }
}

// sums += the tile's rows, each times its weight.
template <int kColumns, class T, int kDim>
__device__ __forceinline__ void add_weighted_rows(float (&sums)[kDim / 8][4],
                                                  const MmaWeights<kColumns>& weights,
                                                  MmaTile<T, kDim> tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int k = 0; k < kColumns / 16; ++k) {
#pragma unroll
    for (int n = 0; n < kDim / 16; ++n) {
      unsigned b[4];
      ldmatrix_x4_transposed(b, tile.piece(16 * k + lane % 16, 2 * n + lane / 16));
      mma_16x8x16<T>(sums[2 * n], weights[k], b[0], b[1]);
      mma_16x8x16<T>(sums[2 * n + 1], weights[k], b[2], b[3]);
    }
  }
}

// Writes a warp's 16 rows, each times a factor, by way of its own rows of a tile, whose content the
// warp no longer needs and no other warp reads. They are at least as long.
template <int kDim, class T, int kTileDim>
__device__ __forceinline__ void write_rows(const GlobalRows<T>& to,
                                           const float (&sums)[kDim / 8][4],
                                           const float (&factor)[2], MmaTile<T, kTileDim> own_tile,
                                           int first_row) {
  static_assert(kDim <= kTileDim);
  constexpr int kPieces = kDim / kPiece;
  // Of shorter rows, in the place of the warp's own.
  const MmaTile<T, kDim> tile{own_tile.at + first_row * (kTileDim - kDim)};
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int n = 0; n < kPieces; ++n) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      store(tile.piece(first_row + lane / 4 + 8 * r, n) + lane % 4 * 2,
            Pack<T, 2>{{from_float<T>(sums[n][2 * r] * factor[r]),
                        from_float<T>(sums[n][2 * r + 1] * factor[r])}});
    }
  }
  __syncwarp();
  for (int i = lane; i < kWarpRows * kPieces; i += kWarp) {
    const int row = i / kPieces, piece = i % kPieces;
    if (row >= to.count || piece * kPiece >= to.dim) continue;
    store(to.at + row * to.stride + piece * kPiece,
          load<kPiece>(tile.piece(first_row + row, piece)));
  }
}

// Calls fn with the element's type.
template <class Fn>
void visit_mma_type(DType dtype, Fn&& fn) {
  if (dtype == DType::kF16) return fn.template operator()<Float16>();
  FRUGAL_CHECK(dtype == DType::kBF16, "attention on tensor cores: ", name_of(dtype));
  fn.template operator()<BFloat16>();
}

}  // namespace frugal::cu
