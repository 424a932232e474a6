#include "kernels/ops/optimizer.h"

#include <algorithm>
#include <type_traits>

#include "kernels/core/stochastic_rounding.h"
#include "kernels/cuda/device/element.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

template <class W, class M, class S>
struct Piece {
  W* weight;
  M* master;  // the weight where that is its own master
  S* m;
  S* v;
  const float* grad;
  std::int64_t count;
  std::uint64_t key;
  std::int64_t begin;
  unsigned first_block;
  float weight_decay;
};

// One launch updates many pieces. A kernel's parameters are 4 KiB at most on every GPU.
constexpr int kPieces = 55;
template <class W, class M, class S>
struct Pieces {
  Piece<W, M, S> piece[kPieces];
  int count;
  AdamwScalars scalars;
};

// Noise of kSize neighbours, of one group.
template <class T, int kSize>
struct Noise {
  PhiloxWords words{};
  int first = 0;

  __device__ __forceinline__ Noise(std::uint64_t key, std::int64_t element, std::uint64_t purpose) {
    if constexpr (std::is_same_v<T, BFloat16>) {
      words = rounding_noise(key, element / kRoundingGroup, purpose);
      if constexpr (kSize < kRoundingGroup) first = static_cast<int>(element % kRoundingGroup);
    }
  }
  __device__ __forceinline__ T round(float value, int e) const {
    if constexpr (std::is_same_v<T, BFloat16>) {
      return round_by_chance(value, noise_of(words, first + e));
    } else {
      return value;
    }
  }
};

template <int kSize, class W, class M, class S>
__device__ __forceinline__ void update(const AdamwScalars& a, const Piece<W, M, S>& p,
                                       std::int64_t i) {
  const auto grad = load<kSize>(p.grad + i);
  auto master = load<kSize>(p.master + i);
  auto m = load<kSize>(p.m + i), v = load<kSize>(p.v + i);
  Pack<W, kSize> weight;
  const Noise<M, kSize> noise_w(p.key, p.begin + i, kWeightNoise);
  const Noise<S, kSize> noise_m(p.key, p.begin + i, kMNoise);
  const Noise<S, kSize> noise_v(p.key, p.begin + i, kVNoise);
#pragma unroll
  for (int e = 0; e < kSize; ++e) {
    const float g = grad.element[e] * a.grad_scale, old = to_float(master.element[e]);
    const float new_m = fmaf(a.beta1, to_float(m.element[e]), (1.0F - a.beta1) * g);
    const float new_v = fmaf(a.beta2, to_float(v.element[e]), (1.0F - a.beta2) * g * g);
    const float root = sqrtf(new_v / a.bias_correction2) + a.eps;
    const float step = fmaf(p.weight_decay, old, new_m / a.bias_correction1 / root);
    const float w = fmaf(-a.learning_rate, step, old);
    m.element[e] = noise_m.round(new_m, e);
    v.element[e] = noise_v.round(new_v, e);
    master.element[e] = noise_w.round(w, e);
    if constexpr (!std::is_same_v<W, M>) weight.element[e] = from_float<W>(w);
  }
  store(p.m + i, m);
  store(p.v + i, v);
  store(p.master + i, master);
  if constexpr (!std::is_same_v<W, M>) store(p.weight + i, weight);
}

template <int kSize, class W, class M, class S>
__global__ void adamw_kernel(const __grid_constant__ Pieces<W, M, S> a) {
  int p = 0;  // the last piece that begins at or before this block
#pragma unroll
  for (int step = 32; step > 0; step /= 2) {
    if (p + step < a.count && a.piece[p + step].first_block <= blockIdx.x) p += step;
  }
  const Piece<W, M, S>& piece = a.piece[p];
  const std::int64_t block = blockIdx.x - piece.first_block;
  const std::int64_t i = (block * blockDim.x + threadIdx.x) * kSize;
  if (i + kSize <= piece.count) {
    update<kSize>(a.scalars, piece, i);
  } else {
    for (std::int64_t tail = i; tail < piece.count; ++tail) update<1>(a.scalars, piece, tail);
  }
}

// At most kPieces of them.
template <class W, class M, class S>
void launch_pieces(Stream& stream, std::span<const AdamwPiece> pieces,
                   const AdamwScalars& scalars) {
  // All that one call of the generator serves, where there is chance.
  constexpr bool kChance = std::is_same_v<M, BFloat16> || std::is_same_v<S, BFloat16>;
  constexpr int kSize = kChance ? static_cast<int>(kRoundingGroup) : 4;
  Pieces<W, M, S> a{.count = 0, .scalars = scalars};
  bool aligned = true;
  const auto look = [&]<class T>(T* data) {
    aligned = aligned && reinterpret_cast<std::uintptr_t>(data) % (kSize * sizeof(T)) == 0;
    return data;
  };
  for (const AdamwPiece& piece : pieces) {
    const Tensor& master = given(piece.master_N) ? piece.master_N : piece.weight_N;
    a.piece[a.count++] = {.weight = look(piece.weight_N.as<W>()),
                          .master = look(master.as<M>()),
                          .m = look(piece.m_N.as<S>()),
                          .v = look(piece.v_N.as<S>()),
                          .grad = look(piece.grad_N.as<float>()),
                          .count = piece.weight_N.numel(),
                          .key = piece.rounding_key,
                          .begin = piece.begin,
                          .first_block = 0,  // below
                          .weight_decay = piece.weight_decay};
  }
  const auto run = [&]<int kPack>() {
    std::int64_t blocks = 0;
    for (Piece<W, M, S>& piece : std::span(a.piece, static_cast<std::size_t>(a.count))) {
      piece.first_block = static_cast<unsigned>(blocks);
      blocks += thread_for_each((piece.count + kPack - 1) / kPack).blocks_x;
    }
    launch(stream, "adamw_step", {.blocks_x = blocks, .threads = kItemThreads},
           adamw_kernel<kPack, W, M, S>, a);
  };
  aligned ? run.template operator()<kSize>() : run.template operator()<1>();
}

}  // namespace

void adamw_step(Stream& stream, std::span<const AdamwPiece> pieces, const AdamwScalars& scalars) {
  if (pieces.empty()) return;
  visit_adamw(pieces.front(), [&]<class W, class M, class S>() {
    static_assert(sizeof(Pieces<W, M, S>) <= 4096);
    for (std::size_t i = 0; i < pieces.size(); i += kPieces) {
      const auto count = std::min<std::size_t>(kPieces, pieces.size() - i);
      launch_pieces<W, M, S>(stream, pieces.subspan(i, count), scalars);
    }
  });
}

}  // namespace frugal::cu
