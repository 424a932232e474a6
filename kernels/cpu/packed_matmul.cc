// A task is a block of the output. It walks over k in steps: packs both operands' parts into
// buffers that stay in the second-level cache, then multiplies them tile by tile, a tile's sums in
// registers. Source: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication".
#include "kernels/cpu/packed_matmul.h"

#include <algorithm>

#include "hwy/aligned_allocator.h"
#include "hwy/cache_control.h"
#include "kernels/core/threads.h"
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
// The largest block of a task, its columns whole tiles for every vector length, and the smallest.
constexpr std::int64_t kLeast = 96;
constexpr std::int64_t kRows = 384, kColumns = 384, kDepth = 256;

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

// The first `count` columns of `depth` rows of x: panels of kWidth columns, each [depth, kWidth]. A
// few rows at a time, so that rows are read in order and a panel's part is written in one piece.
template <std::int64_t kWidth, class T>
void pack_panels(const T* x, std::int64_t stride, std::int64_t count, std::int64_t depth,
                 float* to) {
  const hn::CappedTag<float, kWidth> d;
  constexpr std::int64_t kStep = hn::MaxLanes(d), kRowsAtOnce = 8;
  for (std::int64_t first = 0; first < depth; first += kRowsAtOnce) {
    const std::int64_t last = std::min(first + kRowsAtOnce, depth);
    float* panel = to;
    for (std::int64_t begin = 0; begin < count; begin += kWidth, panel += kDepth * kWidth) {
      const std::int64_t columns = std::min(count - begin, kWidth);
      for (std::int64_t k = first; k < last; ++k) {
        const T* from = x + k * stride + begin;
        float* row = panel + k * kWidth;
        std::int64_t i = 0;
        for (; i + kStep <= columns; i += kStep) hn::StoreU(load_as(d, from + i), d, row + i);
        for (; i < columns; ++i) row[i] = static_cast<float>(from[i]);
      }
    }
  }
}

// Lane i: elements k and k + 1 (16 bits), or k (f32), of row i. Returns how many k were written.
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
inline std::int64_t gather_columns(const Float16* x, hn::Vec<hn::RebindToSigned<F32>> offsets,
                                   float* to) {
  const hn::RebindToUnsigned<F32> d;
  const auto pair =
      hn::BitCast(d, hn::GatherOffset(hn::RebindToSigned<F32>(),
                                      reinterpret_cast<const std::int32_t*>(x), offsets));
  hn::Store(widen_halves(F32(), hn::And(pair, hn::Set(d, 0xffff))), F32(), to);
  hn::Store(widen_halves(F32(), hn::ShiftRight<16>(pair)), F32(), to + kTileColumns);
  return 2;
}

// Like pack_panels for the transpose of x, whose rows are the columns here.
template <class T>
void pack_transposed(const T* x, std::int64_t stride, std::int64_t count, std::int64_t depth,
                     float* to) {
  const hn::RebindToSigned<F32> d;
  // Pairs of 16 bits are read as one word: whole, aligned words only.
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

struct Block {
  std::int64_t row, rows, column, columns;
};

// Where a tile begins within its block.
struct TilePlace {
  std::int64_t row, column;
};

using TileSums = Vec[kTileRows][kTileVectors];

// sums += a b over `depth` k. Element (r, k) of a is a[r * kRowStep + k * kStep]; b is
// [depth, kTileColumns]. Not inlined: with the code of a bf16 result around it the compiler would
// read b from memory in every multiply-add.
template <std::int64_t kRowStep, std::int64_t kStep>
HWY_NOINLINE void multiply_tile(const float* a, const float* b, std::int64_t depth,
                                TileSums& sums) {
  const F32 d;
  TileSums sum;
  for (std::int64_t r = 0; r < kTileRows; ++r)
    for (std::int64_t v = 0; v < kTileVectors; ++v) sum[r][v] = sums[r][v];
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
    for (std::int64_t v = 0; v < kTileVectors; ++v) sums[r][v] = sum[r][v];
}

HWY_INLINE void load_tile(const float* from, TileSums& sum) {
  for (std::int64_t r = 0; r < kTileRows; ++r)
    for (std::int64_t v = 0; v < kTileVectors; ++v)
      sum[r][v] = hn::Load(F32(), from + (r * kTileVectors + v) * kLanes);
}

HWY_INLINE void store_tile(const TileSums& sum, float* to) {
  for (std::int64_t r = 0; r < kTileRows; ++r)
    for (std::int64_t v = 0; v < kTileVectors; ++v)
      hn::Store(sum[r][v], F32(), to + (r * kTileVectors + v) * kLanes);
}

// Where the finished sums of one row go, and what is added to them; or null.
template <class T, class Bias>
struct Finish {
  T* out;
  const Bias* bias;
  const T* add;
  bool accumulate;
  template <class Lanes>
  HWY_INLINE void put(Vec value, std::int64_t i, Lanes lanes) const {
    if (accumulate) value = hn::Add(load(out + i, lanes), value);
    if (bias != nullptr) value = hn::Add(value, load(bias + i, lanes));
    if (add != nullptr) value = hn::Add(value, load(add + i, lanes));
    store(value, out + i, lanes);
  }
};

// The results' places are on their way while the products run.
template <class T>
HWY_INLINE void prefetch_tile(const MatmulArgs& args, const Block& block, TilePlace place) {
  const std::int64_t stride = args.out_MN.shape[1];
  const T* out =
      args.out_MN.as<T>() + (block.row + place.row) * stride + block.column + place.column;
  const std::int64_t rows = std::min(kTileRows, block.rows - place.row);
  for (std::int64_t r = 0; r < rows; ++r) {
    hwy::Prefetch(out + r * stride);
    hwy::Prefetch(out + r * stride + kTileColumns - 1);
  }
}

template <class T, class Bias>
HWY_INLINE void finish_tile(const MatmulArgs& args, const Block& block, TilePlace place,
                            const TileSums& sum) {
  const std::int64_t stride = args.out_MN.shape[1], column = block.column + place.column;
  const std::int64_t corner = (block.row + place.row) * stride + column;
  const auto row = [&](std::int64_t r) -> Finish<T, Bias> {
    const std::int64_t at = corner + r * stride;
    return {args.out_MN.as<T>() + at,
            given(args.bias_N) ? args.bias_N.as<Bias>() + column : nullptr,
            given(args.add_MN) ? args.add_MN.as<T>() + at : nullptr, args.accumulate};
  };
  const std::int64_t rows = std::min(kTileRows, block.rows - place.row);
  const std::int64_t columns = std::min(kTileColumns, block.columns - place.column);
  if (rows == kTileRows && columns == kTileColumns) {
    for (std::int64_t r = 0; r < kTileRows; ++r) {
      const auto to = row(r);
      for (std::int64_t v = 0; v < kTileVectors; ++v) to.put(sum[r][v], v * kLanes, All());
    }
    return;
  }
  HWY_ALIGN float tile[kTileRows * kTileColumns];
  store_tile(sum, tile);
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto to = row(r);
    for_vectors(0, columns, [&](std::int64_t i, auto lanes) {
      to.put(load(tile + r * kTileColumns + i, lanes), i, lanes);
    });
  }
}

template <class T>
void pack_block(const MatmulArgs& args, const Block& block, std::int64_t k, std::int64_t depth,
                Buffers& to) {
  const std::int64_t a_stride = args.a.shape[1], b_stride = args.b.shape[1];
  const T* a =
      args.a.as<T>() + (args.transpose_a ? k * a_stride + block.row : block.row * a_stride + k);
  const T* b = args.b.as<T>() +
               (args.transpose_b ? block.column * b_stride + k : k * b_stride + block.column);
  args.transpose_a ? pack_panels<kTileRows>(a, a_stride, block.rows, depth, to.a.get())
                   : pack_rows(a, a_stride, block.rows, depth, to.a.get());
  args.transpose_b ? pack_transposed(b, b_stride, block.columns, depth, to.b.get())
                   : pack_panels<kTileColumns>(b, b_stride, block.columns, depth, to.b.get());
}

template <class T, class Out>
void multiply_block(const MatmulArgs& args, const Block& block, Buffers& buffers) {
  const std::int64_t depth = args.a.shape[args.transpose_a ? 0 : 1];
  for (std::int64_t k = 0; k < depth; k += kDepth) {
    const std::int64_t step = std::min(kDepth, depth - k);
    pack_block<T>(args, block, k, step, buffers);
    float* sums = buffers.sums.get();
    for (std::int64_t c = 0; c < block.columns; c += kTileColumns) {
      const float* tile_b = buffers.b.get() + c * kDepth;
      for (std::int64_t r = 0; r < block.rows; r += kTileRows, sums += kTileRows * kTileColumns) {
        const float* tile_a = buffers.a.get() + r * kDepth;
        TileSums sum;
        if (k == 0) {
          for (auto& row : sum)
            for (Vec& v : row) v = hn::Zero(F32());
        } else {
          load_tile(sums, sum);
        }
        if (k + step == depth) prefetch_tile<Out>(args, block, {r, c});
        args.transpose_a ? multiply_tile<1, kTileRows>(tile_a, tile_b, step, sum)
                         : multiply_tile<kDepth, 1>(tile_a, tile_b, step, sum);
        if (k + step < depth) {
          store_tile(sum, sums);
        } else {
          finish_tile<Out, T>(args, block, {r, c}, sum);
        }
      }
    }
  }
}

// Blocks of the largest size, halved until they keep all threads busy. Bits do not depend on it.
struct Blocks {
  std::int64_t m, n, rows = kRows, columns = kColumns;

  std::int64_t down() const { return (m + rows - 1) / rows; }
  std::int64_t across() const { return (n + columns - 1) / columns; }
  std::int64_t count() const { return down() * across(); }
  Block at(std::int64_t item) const {
    const std::int64_t row = item / across() * rows, column = item % across() * columns;
    return {row, std::min(rows, m - row), column, std::min(columns, n - column)};
  }
  bool leaves_threads_idle(std::int64_t threads) const {
    const std::int64_t rounds = (count() + threads - 1) / threads;
    return rounds * threads * 8 > count() * 9;
  }
};

// Sizes that cut `length` into `parts` alike, of whole tiles.
std::int64_t evened(std::int64_t length, std::int64_t parts, std::int64_t tile) {
  const std::int64_t size = (length + parts - 1) / parts;
  return (size + tile - 1) / tile * tile;
}

Blocks choose_blocks(std::int64_t m, std::int64_t n, std::int64_t threads) {
  Blocks out{m, n};
  while (out.leaves_threads_idle(threads) && (out.rows > kLeast || out.columns > kLeast)) {
    // Narrow blocks pack a's rows again and again, low ones b's columns: cut the longer side.
    const bool cut_columns =
        out.rows == kLeast || std::min(out.columns, n) >= std::min(out.rows, m);
    (cut_columns && out.columns > kLeast ? out.columns : out.rows) /= 2;
  }
  out.rows = evened(m, out.down(), kTileRows);
  out.columns = evened(n, out.across(), kTileColumns);
  return out;
}

void multiply_packed(const MatmulArgs& args) {
  const Blocks blocks =
      choose_blocks(args.out_MN.shape[0], args.out_MN.shape[1], compute_threads());
  constexpr std::int64_t kProductsOfElement = 16;  // what is done in the time of one element
  const std::int64_t depth = args.a.shape[args.transpose_a ? 0 : 1];
  const std::int64_t cost = blocks.rows * blocks.columns * depth / kProductsOfElement;
  parallel_for(blocks.count(), cost, [&](std::int64_t item) {
    thread_local Buffers buffers;
    visit_floats(args.a.dtype, args.out_MN.dtype, [&]<class T, class Out>() {
      multiply_block<T, Out>(args, blocks.at(item), buffers);
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
