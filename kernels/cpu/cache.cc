// Attention over cached keys: an item is a new token and a key/value head, whose query heads share
// the keys while they are in the cache of the core. Running maximum and sum as in attention.cc.
#include "kernels/ops/cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cache.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "hwy/cache_control.h"
#include "kernels/cpu/exp_inl.h"
#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

constexpr std::int64_t kKeys = 64;       // of a block: they stay in the first cache
constexpr std::int64_t kKeysAhead = 16;  // between the key that is read and the one that is fetched
constexpr int kMostHeads = 4;            // that share a key or a value while it is in a register

// What query heads see of the cache: the keys and values of one key/value head, `stride` elements
// from one row to the next.
template <class T>
struct CachedRows {
  const T* keys;
  const T* values;
  std::int64_t stride, width;
};

// Sums over the keys so far, of query heads that share a key/value head.
template <int kHeads>
struct HeadSums {
  float largest[kHeads];
  float total[kHeads];
  HWY_ALIGN float query[kHeads][kWidestCachedHead];  // 0 behind the width
  HWY_ALIGN float out[kHeads][kWidestCachedHead];
};

// Rows of one head lie apart, which the processor's own reading ahead does not follow. Past the end
// of the cache nothing happens.
template <class T>
HWY_INLINE void fetch(const T* row, std::int64_t width) {
  constexpr std::int64_t kCacheLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < width; i += kCacheLine) hwy::Prefetch(row + i);
}

// scores[g][j] (=) scale times query g times key j, for the first `count` rows.
template <int kHeads, class T>
void score_keys(const HeadSums<kHeads>& sums, const CachedRows<T>& rows, std::int64_t count,
                float scale, float (&scores)[kHeads][kKeys]) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t j = 0; j < count; ++j) {
    const T* key = rows.keys + j * rows.stride;
    fetch(key + kKeysAhead * rows.stride, rows.width);
    fetch(rows.values + j * rows.stride, rows.width);
    Vec dots[kHeads];
    for (Vec& dot : dots) dot = hn::Zero(d);
    const auto add = [&](std::int64_t i, auto which) {
      const Vec x = load(key + i, which);
      for (int g = 0; g < kHeads; ++g) {
        dots[g] = hn::MulAdd(x, hn::Load(d, sums.query[g] + i), dots[g]);
      }
    };
    std::int64_t i = 0;
    for (; i + lanes <= rows.width; i += lanes) add(i, All());
    if (i < rows.width) add(i, First{static_cast<std::size_t>(rows.width - i)});
    for (int g = 0; g < kHeads; ++g) {
      scores[g][j] = scale * hn::GetLane(hn::SumOfLanes(d, dots[g]));
    }
  }
}

// Scores become weights relative to the largest score, old sums are brought down to it.
template <int kHeads>
void weigh(HeadSums<kHeads>& sums, int head, float* scores, std::int64_t count,
           std::int64_t width) {
  float largest = sums.largest[head];
  for (std::int64_t j = 0; j < count; ++j) largest = std::max(largest, scores[j]);
  const float shrink = std::exp(sums.largest[head] - largest);
  sums.largest[head] = largest;
  const float added = sum_vectors(count, [=](std::int64_t i, auto lanes) {
    const Vec weight = exp_of(hn::Sub(load(scores + i, lanes), hn::Set(F32(), largest)));
    store(weight, scores + i, lanes);
    return weight;
  });
  sums.total[head] = sums.total[head] * shrink + added;
  float* out = sums.out[head];
  for_vectors(0, width, [=](std::int64_t i, auto lanes) {
    store(hn::Mul(load(out + i, lanes), hn::Set(F32(), shrink)), out + i, lanes);
  });
}

// out[g] += the sum of weights[g][j] times value j, over the first `count` rows.
template <int kHeads, class T>
void add_values(HeadSums<kHeads>& sums, const CachedRows<T>& rows, std::int64_t count,
                const float (&weights)[kHeads][kKeys]) {
  const F32 d;
  for_vectors(0, rows.width, [=, &sums, &weights](std::int64_t i, auto lanes) {
    Vec out[kHeads];
    for (int g = 0; g < kHeads; ++g) out[g] = hn::Load(d, sums.out[g] + i);
    for (std::int64_t j = 0; j < count; ++j) {
      const Vec value = load(rows.values + j * rows.stride + i, lanes);
      for (int g = 0; g < kHeads; ++g) {
        out[g] = hn::MulAdd(hn::Set(d, weights[g][j]), value, out[g]);
      }
    }
    for (int g = 0; g < kHeads; ++g) hn::Store(out[g], d, sums.out[g] + i);
  });
}

// Query heads [head, head + kHeads) of one token over the cached keys that it sees.
template <int kHeads, class T>
void attend_heads(const AttentionCachedForwardArgs& args, std::int64_t token, std::int64_t head,
                  std::int64_t kv_head) {
  const std::int64_t heads = args.q_TNH.shape[1], width = args.q_TNH.shape[2];
  const std::int64_t first = args.first_row_T.as<std::int32_t>()[token];
  const std::int64_t end = args.last_row_T.as<std::int32_t>()[token] + std::int64_t{1};
  HeadSums<kHeads> sums = {};
  for (int g = 0; g < kHeads; ++g) {
    sums.largest[g] = -std::numeric_limits<float>::infinity();
    const T* query = args.q_TNH.as<T>() + (token * heads + head + g) * width;
    for (std::int64_t i = 0; i < width; ++i) sums.query[g][i] = static_cast<float>(query[i]);
  }
  const std::int64_t stride = args.k_RMH.shape[1] * width;
  HWY_ALIGN float scores[kHeads][kKeys];
  for (std::int64_t begin = first; begin < end; begin += kKeys) {
    const std::int64_t count = std::min(kKeys, end - begin);
    const std::int64_t offset = begin * stride + kv_head * width;
    const CachedRows<T> rows{.keys = args.k_RMH.as<T>() + offset,
                             .values = args.v_RMH.as<T>() + offset,
                             .stride = stride,
                             .width = width};
    score_keys(sums, rows, count, args.scale, scores);
    for (int g = 0; g < kHeads; ++g) weigh(sums, g, scores[g], count, width);
    add_values(sums, rows, count, scores);
  }
  for (int g = 0; g < kHeads; ++g) {
    const float factor = end > first ? 1.0F / sums.total[g] : 0.0F;
    const float* from = sums.out[g];
    T* to = args.out_TNH.as<T>() + (token * heads + head + g) * width;
    for_vectors(0, width, [=](std::int64_t i, auto lanes) {
      store(hn::Mul(load(from + i, lanes), hn::Set(F32(), factor)), to + i, lanes);
    });
  }
}

template <class T>
void attend_item(const AttentionCachedForwardArgs& args, std::int64_t token, std::int64_t kv_head) {
  const std::int64_t group = args.q_TNH.shape[1] / args.k_RMH.shape[1];
  const std::int64_t end = (kv_head + 1) * group;
  std::int64_t head = kv_head * group;
  for (; head + kMostHeads <= end; head += kMostHeads) {
    attend_heads<kMostHeads, T>(args, token, head, kv_head);
  }
  if (end - head == 3) attend_heads<3, T>(args, token, head, kv_head);
  if (end - head == 2) attend_heads<2, T>(args, token, head, kv_head);
  if (end - head == 1) attend_heads<1, T>(args, token, head, kv_head);
}

void attend(const AttentionCachedForwardArgs& args) {
  const std::int64_t kv_heads = args.k_RMH.shape[1];
  visit_float(args.q_TNH.dtype, [&]<class T>() {
    const std::int64_t cost = args.k_RMH.shape[0] * args.q_TNH.shape[2];
    parallel_for(args.q_TNH.shape[0] * kv_heads, cost, [&](std::int64_t item) {
      attend_item<T>(args, item / kv_heads, item % kv_heads);
    });
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(attend);

void attention_cached_forward(Stream& stream, const AttentionCachedForwardArgs& args) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(attend)(args); });
}

void rows_store(Stream& stream, Tensor out, ConstTensor rows, ConstTensor x) {
  stream.run_host([=] {
    const auto bytes = static_cast<std::size_t>(x.shape[1]) * size_of(x.dtype);
    for (std::int64_t t = 0; t < x.shape[0]; ++t) {
      const std::int32_t row = rows.as<std::int32_t>()[t];
      if (row >= 0) {
        std::memcpy(out.data + static_cast<std::size_t>(row) * bytes,
                    x.data + static_cast<std::size_t>(t) * bytes, bytes);
      }
    }
  });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
