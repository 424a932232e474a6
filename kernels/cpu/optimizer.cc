#include "kernels/ops/optimizer.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels/core/stochastic_rounding.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/double_sum_inl.h"
#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

// Elements that are updated at a time: their noise stays in the first cache.
constexpr std::int64_t kNoiseBlock = 512;

// rounding_noise() of kNoiseBlock elements, a round of all groups at a time: loops that the
// compiler makes vectors of.
struct Noise {
  static constexpr std::size_t kGroups = kNoiseBlock / kRoundingGroup;
  std::uint16_t element[kNoiseBlock];

  void fill(std::uint64_t key, std::int64_t first_group, std::uint64_t purpose) {
    std::uint32_t c0[kGroups], c1[kGroups], c2[kGroups], c3[kGroups];
    for (std::size_t g = 0; g < kGroups; ++g) {
      const std::uint64_t group = static_cast<std::uint64_t>(first_group) + g;
      c0[g] = static_cast<std::uint32_t>(group), c1[g] = static_cast<std::uint32_t>(group >> 32);
      c2[g] = static_cast<std::uint32_t>(purpose),
      c3[g] = static_cast<std::uint32_t>(purpose >> 32);
    }
    auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round) {
      for (std::size_t g = 0; g < kGroups; ++g) {
        const PhiloxWords next = philox_round({c0[g], c1[g], c2[g], c3[g]}, k0, k1);
        c0[g] = next[0], c1[g] = next[1], c2[g] = next[2], c3[g] = next[3];
      }
      k0 += kPhiloxStep0;
      k1 += kPhiloxStep1;
    }
    for (std::size_t g = 0; g < kGroups; ++g) {
      const std::uint32_t words[4]{c0[g], c1[g], c2[g], c3[g]};
      std::memcpy(element + g * kRoundingGroup, words, sizeof(words));  // little-endian
    }
  }
};

// Rounds as round_by_chance() does.
HWY_INLINE void store_by_chance(Vec v, const std::uint16_t* noise, BFloat16* to, All) {
  const hn::Rebind<std::uint16_t, F32> d16;
  const hn::RebindToUnsigned<F32> d32;
  const auto bits = hn::BitCast(d32, v);
  const auto sum = hn::Add(bits, hn::PromoteTo(d32, hn::LoadU(d16, noise)));
  const auto near =
      hn::Lt(hn::And(bits, hn::Set(d32, 0x7fffffff)), hn::Set(d32, kRoundedToNearestFrom));
  const auto result = hn::IfThenElse(near, hn::ShiftRight<16>(sum), bfloat16_bits(v));
  hn::StoreU(hn::TruncateTo(d16, result), d16, reinterpret_cast<std::uint16_t*>(to));
}
HWY_INLINE void store_by_chance(Vec v, const std::uint16_t* noise, BFloat16* to, First lanes) {
  HWY_ALIGN std::uint16_t own[hn::MaxLanes(F32())] = {};
  HWY_ALIGN BFloat16 buffer[hn::MaxLanes(F32())];
  std::memcpy(own, noise, lanes.count * sizeof(std::uint16_t));
  store_by_chance(v, own, buffer, All());
  std::memcpy(to, buffer, lanes.count * sizeof(BFloat16));
}
template <class Lanes>
HWY_INLINE void store_by_chance(Vec v, const std::uint16_t* /*noise*/, float* to, Lanes lanes) {
  store(v, to, lanes);
}

// At most kNoiseBlock elements.
template <class W, class M, class S>
void adamw_elements(const AdamwPiece& piece, const AdamwScalars& scalars, std::int64_t begin,
                    std::int64_t end) {
  const F32 d;
  constexpr bool kHasMaster = !std::is_same_v<W, M>;
  constexpr bool kChanceW = std::is_same_v<M, BFloat16>, kChanceS = std::is_same_v<S, BFloat16>;
  const std::int64_t group = (piece.begin + begin) / kRoundingGroup;
  Noise noise_w, noise_m, noise_v;
  if constexpr (kChanceW) noise_w.fill(piece.rounding_key, group, kWeightNoise);
  if constexpr (kChanceS) noise_m.fill(piece.rounding_key, group, kMNoise);
  if constexpr (kChanceS) noise_v.fill(piece.rounding_key, group, kVNoise);
  const std::uint16_t *of_w = noise_w.element, *of_m = noise_m.element, *of_v = noise_v.element;
  W* weight = piece.weight_N.as<W>();
  M* master = (kHasMaster ? piece.master_N : piece.weight_N).template as<M>();
  S* m = piece.m_N.as<S>();
  S* v = piece.v_N.as<S>();
  const float* grad = piece.grad_N.as<float>();
  const Vec grad_scale = hn::Set(d, scalars.grad_scale), decay = hn::Set(d, piece.weight_decay);
  const Vec beta1 = hn::Set(d, scalars.beta1), rest1 = hn::Set(d, 1.0F - scalars.beta1);
  const Vec beta2 = hn::Set(d, scalars.beta2), rest2 = hn::Set(d, 1.0F - scalars.beta2);
  const Vec correct1 = hn::Set(d, 1.0F / scalars.bias_correction1);
  const Vec correct2 = hn::Set(d, 1.0F / scalars.bias_correction2);
  const Vec eps = hn::Set(d, scalars.eps), rate = hn::Set(d, scalars.learning_rate);
  for_vectors(begin, end, [=](std::int64_t i, auto lanes) {
    const Vec g = hn::Mul(load(grad + i, lanes), grad_scale);
    const Vec new_m = hn::MulAdd(beta1, load(m + i, lanes), hn::Mul(rest1, g));
    const Vec new_v = hn::MulAdd(beta2, load(v + i, lanes), hn::Mul(rest2, hn::Mul(g, g)));
    const Vec scale = hn::Add(hn::Sqrt(hn::Mul(new_v, correct2)), eps);
    const Vec old = load(master + i, lanes);
    const Vec update = hn::MulAdd(decay, old, hn::Div(hn::Mul(new_m, correct1), scale));
    const Vec w = hn::NegMulAdd(rate, update, old);
    store_by_chance(new_m, of_m + (i - begin), m + i, lanes);
    store_by_chance(new_v, of_v + (i - begin), v + i, lanes);
    store_by_chance(w, of_w + (i - begin), master + i, lanes);
    if constexpr (kHasMaster) store(w, weight + i, lanes);
  });
}

void adamw(const AdamwPiece& piece, const AdamwScalars& scalars) {
  visit_adamw(piece, [&]<class W, class M, class S>() {
    parallel_blocks(piece.weight_N.numel(), kElementBlock,
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t i = begin; i < end; i += kNoiseBlock) {
                        adamw_elements<W, M, S>(piece, scalars, i, std::min(end, i + kNoiseBlock));
                      }
                    });
  });
}

void sum_squares(const Tensor& out_B, const ConstTensor& x_N, std::int64_t block) {
  parallel_for(out_B.numel(), block, [&](std::int64_t b) {
    const std::int64_t begin = b * block;
    const std::int64_t count = std::min(block, x_N.numel() - begin);
    const double sum =
        sum_doubles(x_N.as<float>() + begin, count, [](Vec64 x) { return hn::Mul(x, x); });
    out_B.as<float>()[b] = static_cast<float>(sum);
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(adamw);
HWY_EXPORT(sum_squares);

void adamw_step(Stream& stream, std::span<const AdamwPiece> pieces, const AdamwScalars& scalars) {
  stream.run_host([pieces = std::vector(pieces.begin(), pieces.end()), scalars] {
    for (const AdamwPiece& piece : pieces) HWY_DYNAMIC_DISPATCH(adamw)(piece, scalars);
  });
}

void block_sum_squares(Stream& stream, Tensor out, ConstTensor x, std::int64_t block) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(sum_squares)(out, x, block); });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
