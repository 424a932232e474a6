// What attention does with tiles of float32: pack them from tensors of any float dtype and multiply
// them. Compiled once per instruction set, like vector_inl.h.
#if defined(FRUGAL_KERNELS_CPU_ATTENTION_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FRUGAL_KERNELS_CPU_ATTENTION_TILES_INL_H_
#undef FRUGAL_KERNELS_CPU_ATTENTION_TILES_INL_H_
#else
#define FRUGAL_KERNELS_CPU_ATTENTION_TILES_INL_H_
#endif

#include <algorithm>
#include <vector>

#include "kernels/core/tensor.h"
#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

constexpr std::int64_t kTile = 64;        // queries or keys of a tile
constexpr std::int64_t kProductRows = 4;  // of one register block

inline std::int64_t round_up(std::int64_t n, std::int64_t to) {
  return (n + to - 1) / to * to;
}

// Zeros; keeps its memory from call to call.
inline float* cleared(std::vector<float>& memory, std::int64_t count) {
  memory.assign(static_cast<std::size_t>(count), 0.0F);
  return memory.data();
}

template <class T>
const T* head_row(const ConstTensor& t_THH, std::int64_t token, std::int64_t head) {
  return t_THH.as<T>() + (token * t_THH.shape[1] + head) * t_THH.shape[2];
}

// Tokens [begin, end) of one head, widened, to rows of `width`.
template <class T>
void load_rows(const ConstTensor& t_THH, std::int64_t head, std::int64_t begin, std::int64_t end,
               std::int64_t width, float* to) {
  for (std::int64_t t = begin; t < end; ++t) {
    const T* from = head_row<T>(t_THH, t, head);
    for_vectors(0, t_THH.shape[2], [&](std::int64_t i, auto lanes) {
      store(load(from + i, lanes), to + (t - begin) * width + i, lanes);
    });
  }
}

template <class T>
void store_rows(const float* from, std::int64_t width, const Tensor& t_THH, std::int64_t head,
                std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = begin; t < end; ++t) {
    T* to = t_THH.as<T>() + (t * t_THH.shape[1] + head) * t_THH.shape[2];
    for_vectors(0, t_THH.shape[2], [&](std::int64_t i, auto lanes) {
      store(load(from + (t - begin) * width + i, lanes), to + i, lanes);
    });
  }
}

// Up to kTile rows of `width` to their transpose, [width, kTile].
inline void transpose_tile(const float* rows, std::int64_t count, std::int64_t width, float* to) {
  for (std::int64_t h = 0; h < width; ++h)
    for (std::int64_t r = 0; r < count; ++r) to[h * kTile + r] = rows[r * width + h];
}

// A matrix whose element (r, k) is data[r * row_step + k * step].
struct Factor {
  const float* data;
  std::int64_t row_step, step;
};
// A row-major matrix.
struct Rows {
  const float* data;
  std::int64_t width;
};

template <std::int64_t kVectors>
HWY_INLINE void multiply_columns(const Factor& a, const float* b, std::int64_t b_width,
                                 std::int64_t depth, float* sums, std::int64_t width) {
  const F32 d;
  constexpr std::int64_t kLanes = hn::MaxLanes(F32());
  Vec sum[kProductRows][kVectors];
  for (std::int64_t r = 0; r < kProductRows; ++r)
    for (std::int64_t v = 0; v < kVectors; ++v)
      sum[r][v] = hn::LoadU(d, sums + r * width + v * kLanes);
  for (std::int64_t k = 0; k < depth; ++k) {
    Vec row[kVectors];
    for (std::int64_t v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + k * b_width + v * kLanes);
    for (std::int64_t r = 0; r < kProductRows; ++r) {
      const Vec factor = hn::Set(d, a.data[r * a.row_step + k * a.step]);
      for (std::int64_t v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
    }
  }
  for (std::int64_t r = 0; r < kProductRows; ++r)
    for (std::int64_t v = 0; v < kVectors; ++v)
      hn::StoreU(sum[r][v], d, sums + r * width + v * kLanes);
}

// sums [rows, b.width] += a b over `depth` k. Touches rows up to a multiple of kProductRows;
// b.width is a multiple of the vector length. An element is one chain of fused multiply-adds in k's
// order.
inline void multiply_add(const Factor& a, const Rows& b, std::int64_t rows, std::int64_t depth,
                         float* sums) {
  constexpr std::int64_t kLanes = hn::MaxLanes(F32());
  constexpr std::int64_t kWide = kLanes >= 16 ? 4 : 2;  // 4 x kWide sums fit the registers
  for (std::int64_t r = 0; r < rows; r += kProductRows) {
    const Factor block{a.data + r * a.row_step, a.row_step, a.step};
    float* to = sums + r * b.width;
    std::int64_t c = 0;
    for (; c + kWide * kLanes <= b.width; c += kWide * kLanes)
      multiply_columns<kWide>(block, b.data + c, b.width, depth, to + c, b.width);
    for (; c < b.width; c += kLanes)
      multiply_columns<1>(block, b.data + c, b.width, depth, to + c, b.width);
  }
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
