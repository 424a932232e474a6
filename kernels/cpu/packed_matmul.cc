// A task is a block of the output. It walks over k in steps: packs both operands' parts into
// buffers that stay in the second-level cache, then multiplies them tile by tile, a tile's sums in
// registers. Source: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication".
#include "kernels/cpu/packed_matmul.h"

#include <algorithm>

#include "hwy/aligned_allocator.h"
#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/packed_matmul.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

constexpr std::int64_t kLanes = hn::MaxLanes(F32());
// A tile's sums and one row of b fill the registers: 8 x 3 of 32, or 4 x 3 of 16.
constexpr std::int64_t kTileRows = kLanes >= 16 ? 8 : 4, kTileVectors = 3;
constexpr std::int64_t kTileColumns = kTileVectors * kLanes;
// A task's block; columns are whole tiles for every vector length.
constexpr std::int64_t kRows = 256, kColumns = 192, kDepth = 192;

// Per thread. Rows and columns that do not exist hold anything finite or not: nobody reads their
// sums.
struct Buffers {
  hwy::AlignedFreeUniquePtr<float[]> a = hwy::AllocateAligned<float>(kRows * kDepth);
  hwy::AlignedFreeUniquePtr<float[]> b = hwy::AllocateAligned<float>(kDepth * kColumns);
  hwy::AlignedFreeUniquePtr<float[]> sums = hwy::AllocateAligned<float>(kRows * kColumns);
};

// Rows [begin, begin + count) of x [., stride], columns [k, k + depth), widened, to rows of kDepth.
template <class T>
void pack_rows(const T* x, std::int64_t stride, std::int64_t count, std::int64_t depth, float* to) {
  for (std::int64_t r = 0; r < count; ++r) {
    for_vectors(0, depth, [&](std::int64_t i, auto lanes) {
      store(load(x + r * stride + i, lanes), to + r * kDepth + i, lanes);
    });
  }
}

// The first `count` columns of `depth` rows of x: panels of kWidth columns, each [depth, kWidth].
template <std::int64_t kWidth, class T>
void pack_panels(const T* x, std::int64_t stride, std::int64_t count, std::int64_t depth,
                 float* to) {
  const hn::CappedTag<float, kWidth> d;
  constexpr std::int64_t kStep = hn::MaxLanes(d);
  for (std::int64_t begin = 0; begin < count; begin += kWidth, to += kDepth * kWidth) {
    const std::int64_t columns = std::min(count - begin, kWidth);
    for (std::int64_t k = 0; k < depth; ++k) {
      const T* from = x + k * stride + begin;
      float* row = to + k * kWidth;
      std::int64_t i = 0;
      for (; i + kStep <= columns; i += kStep) hn::StoreU(load_as(d, from + i), d, row + i);
      for (; i < columns; ++i) row[i] = static_cast<float>(from[i]);
    }
  }
}

// Lane i: elements k and k + 1 (bf16), or k (f32), of row i. Returns how many k were written.
inline std::int64_t gather_columns(const float* x, hn::Vec<hn::RebindToSigned<F32>> offsets,
                                   float* to) {
  hn::Store(hn::GatherOffset(F32(), x, offsets), F32(), to);
  return 1;
}
inline std::int64_t gather_columns(const BFloat16* x, hn::Vec<hn::RebindToSigned<F32>> offsets,
                                   float* to) {
  const hn::RebindToSigned<F32> d;
  const auto pair = hn::GatherOffset(d, reinterpret_cast<const std::int32_t*>(x), offsets);
  hn::Store(hn::BitCast(F32(), hn::ShiftLeft<16>(pair)), F32(), to);
  hn::Store(hn::BitCast(F32(), hn::And(pair, hn::Set(d, -65536))), F32(), to + kTileColumns);
  return 2;
}

// Like pack_panels for the transpose of x, whose rows are the columns here.
template <class T>
void pack_transposed(const T* x, std::int64_t stride, std::int64_t count, std::int64_t depth,
                     float* to) {
  const hn::RebindToSigned<F32> d;
  // Pairs of bf16 are read as one word: whole, aligned words only.
  const bool words =
      (reinterpret_cast<std::uintptr_t>(x) | static_cast<std::uintptr_t>(stride * sizeof(T))) % 4 ==
      0;
  const std::int64_t gathered = words ? depth * static_cast<std::int64_t>(sizeof(T)) / 4 * 4 /
                                            static_cast<std::int64_t>(sizeof(T))
                                      : 0;
  for (std::int64_t begin = 0; begin < count; begin += kLanes) {
    float* panel = to + begin / kTileColumns * kDepth * kTileColumns + begin % kTileColumns;
    const T* rows = x + begin * stride;
    const std::int64_t last = std::min(kLanes, count - begin) - 1;
    const auto row = hn::Min(hn::Iota(d, 0), hn::Set(d, static_cast<std::int32_t>(last)));
    const auto offsets = hn::Mul(row, hn::Set(d, static_cast<std::int32_t>(stride * sizeof(T))));
    std::int64_t k = 0;
    while (k < gathered) k += gather_columns(rows + k, offsets, panel + k * kTileColumns);
    for (; k < depth; ++k) {
      for (std::int64_t i = 0; i <= last; ++i) {
        panel[k * kTileColumns + i] = static_cast<float>(rows[i * stride + k]);
      }
    }
  }
}

// sums [kTileRows, kTileColumns] (rows kColumns apart) += a b over `depth` k. Element (r, k) of a
// is a[r * kRowStep + k * kStep]; b is [depth, kTileColumns].
template <std::int64_t kRowStep, std::int64_t kStep>
HWY_INLINE void multiply_tile(const float* a, const float* b, std::int64_t depth, float* sums) {
  const F32 d;
  Vec sum[kTileRows][kTileVectors];
  for (std::int64_t r = 0; r < kTileRows; ++r)
    for (std::int64_t v = 0; v < kTileVectors; ++v)
      sum[r][v] = hn::Load(d, sums + r * kColumns + v * kLanes);
  for (std::int64_t k = 0; k < depth; ++k) {
    Vec row[kTileVectors];
    for (std::int64_t v = 0; v < kTileVectors; ++v) row[v] = hn::Load(d, b + v * kLanes);
    for (std::int64_t r = 0; r < kTileRows; ++r) {
      const Vec factor = hn::Set(d, a[r * kRowStep]);
      for (std::int64_t v = 0; v < kTileVectors; ++v)
        sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
    }
    a += kStep;
    b += kTileColumns;
  }
  for (std::int64_t r = 0; r < kTileRows; ++r)
    for (std::int64_t v = 0; v < kTileVectors; ++v)
      hn::Store(sum[r][v], d, sums + r * kColumns + v * kLanes);
}

struct Block {
  std::int64_t row, rows, column, columns;
};

template <class T>
void multiply_block(const MatmulArgs& args, const Block& block, Buffers& buffers) {
  const std::int64_t depth = args.a.shape[args.transpose_a ? 0 : 1];
  const std::int64_t a_stride = args.a.shape[1], b_stride = args.b.shape[1];
  const T* a = args.a.as<T>() + block.row * (args.transpose_a ? 1 : a_stride);
  const T* b = args.b.as<T>() + block.column * (args.transpose_b ? b_stride : 1);
  float* sums = buffers.sums.get();
  std::fill_n(sums, (block.rows + kTileRows - 1) / kTileRows * kTileRows * kColumns, 0.0F);
  for (std::int64_t k = 0; k < depth; k += kDepth) {
    const std::int64_t step = std::min(kDepth, depth - k);
    args.transpose_a
        ? pack_panels<kTileRows>(a + k * a_stride, a_stride, block.rows, step, buffers.a.get())
        : pack_rows(a + k, a_stride, block.rows, step, buffers.a.get());
    args.transpose_b ? pack_transposed(b + k, b_stride, block.columns, step, buffers.b.get())
                     : pack_panels<kTileColumns>(b + k * b_stride, b_stride, block.columns, step,
                                                 buffers.b.get());
    for (std::int64_t c = 0; c < block.columns; c += kTileColumns) {
      for (std::int64_t r = 0; r < block.rows; r += kTileRows) {
        const float* tile_a = buffers.a.get() + r * kDepth;
        const float* tile_b = buffers.b.get() + c * kDepth;
        float* tile = sums + r * kColumns + c;
        args.transpose_a ? multiply_tile<1, kTileRows>(tile_a, tile_b, step, tile)
                         : multiply_tile<kDepth, 1>(tile_a, tile_b, step, tile);
      }
    }
  }
}

template <class T, class Bias>
void store_block(const MatmulArgs& args, const Block& block, const float* sums) {
  const Bias* bias = given(args.bias_N) ? args.bias_N.as<Bias>() + block.column : nullptr;
  for (std::int64_t r = 0; r < block.rows; ++r) {
    T* out = args.out_MN.as<T>() + (block.row + r) * args.out_MN.shape[1] + block.column;
    for_vectors(0, block.columns, [&](std::int64_t i, auto lanes) {
      Vec value = load(sums + r * kColumns + i, lanes);
      if (args.accumulate) value = hn::Add(load(out + i, lanes), value);
      if (bias != nullptr) value = hn::Add(value, load(bias + i, lanes));
      store(value, out + i, lanes);
    });
  }
}

void multiply_packed(const MatmulArgs& args) {
  const std::int64_t m = args.out_MN.shape[0], n = args.out_MN.shape[1];
  const std::int64_t row_blocks = (m + kRows - 1) / kRows;
  const std::int64_t column_blocks = (n + kColumns - 1) / kColumns;
  parallel_for(row_blocks * column_blocks, [&](std::int64_t item) {
    thread_local Buffers buffers;
    const std::int64_t row = item / column_blocks * kRows, column = item % column_blocks * kColumns;
    const Block block{row, std::min(kRows, m - row), column, std::min(kColumns, n - column)};
    visit_float(args.a.dtype, [&]<class T>() {
      multiply_block<T>(args, block, buffers);
      visit_float(args.out_MN.dtype,
                  [&]<class Out>() { store_block<Out, T>(args, block, buffers.sums.get()); });
    });
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(multiply_packed);

void packed_matmul(const MatmulArgs& args) {
  HWY_DYNAMIC_DISPATCH(multiply_packed)(args);
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
