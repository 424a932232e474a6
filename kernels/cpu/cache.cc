// Attention over cached keys in pieces: a new token, a key/value head and a span of keys, which the
// head's queries share while they are in a register. Running maximum and sum as in attention.cc; so
// a long context keeps all threads busy for a single token (as in Flash-Decoding, Dao et al. 2023).
#include "kernels/ops/cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

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

constexpr std::int64_t kKeys = 64;  // of a block: their values are fetched while they are scored
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

// A piece of the work: a span of the keys that a token sees, of one key/value head. Spans depend on
// nothing else in the call, and so the bits do not either.
struct Piece {
  std::int64_t token, kv_head, begin, count;  // keys [begin, begin + count) of the cache
  float* sums;  // written (=) for each query head of kv_head: the largest score, the sum of weights
                // and that of weighted values [width]
};

// Long enough to be worth a piece, and few: their sums must not grow with the context.
std::int64_t span_of(std::int64_t keys) {
  constexpr std::int64_t kShortest = 2 * kKeys, kMostSpans = 64;
  const std::int64_t even = (keys + kMostSpans - 1) / kMostSpans;
  return std::max(kShortest, (even + kKeys - 1) / kKeys * kKeys);
}

// kHeads query heads, from the one `offset` behind the first that reads the key/value head.
template <int kHeads, class T>
void attend_heads(const AttentionCachedForwardArgs& args, const Piece& piece, std::int64_t offset) {
  const F32 d;
  const std::int64_t heads = args.q_TNH.shape[1], width = args.q_TNH.shape[2];
  const std::int64_t kv_heads = args.k_RMH.shape[1], stride = kv_heads * width;
  const std::int64_t first_head = piece.kv_head * (heads / kv_heads) + offset;
  HeadSums<kHeads> sums;
  for (int g = 0; g < kHeads; ++g) {
    sums.largest[g] = std::numeric_limits<float>::lowest();
    sums.total[g] = 0.0F;
    const T* query = args.q_TNH.as<T>() + (piece.token * heads + first_head + g) * width;
    float *widened = sums.query[g], *out = sums.out[g];
    for_vectors(0, width, [=](std::int64_t i, auto lanes) {
      hn::Store(load(query + i, lanes), d, widened + i);
      hn::Store(hn::Zero(d), d, out + i);
    });
  }
  HWY_ALIGN float scores[kHeads][kKeys];
  for (std::int64_t begin = 0; begin < piece.count; begin += kKeys) {
    const std::int64_t count = std::min(kKeys, piece.count - begin);
    const std::int64_t at = (piece.begin + begin) * stride + piece.kv_head * width;
    const CachedRows<T> rows{.keys = args.k_RMH.as<T>() + at,
                             .values = args.v_RMH.as<T>() + at,
                             .stride = stride,
                             .width = width};
    score_keys(sums, rows, count, args.scale, scores);
    for (int g = 0; g < kHeads; ++g) weigh(sums, g, scores[g], count, width);
    add_values(sums, rows, count, scores);
  }
  for (int g = 0; g < kHeads; ++g) {
    float* to = piece.sums + (offset + g) * (width + 2);
    to[0] = sums.largest[g];
    to[1] = sums.total[g];
    std::copy_n(sums.out[g], width, to + 2);
  }
}

template <class T>
void attend_piece(const AttentionCachedForwardArgs& args, const Piece& piece) {
  const std::int64_t group = args.q_TNH.shape[1] / args.k_RMH.shape[1];
  std::int64_t head = 0;
  for (; head + kMostHeads <= group; head += kMostHeads) {
    attend_heads<kMostHeads, T>(args, piece, head);
  }
  if (group - head == 3) attend_heads<3, T>(args, piece, head);
  if (group - head == 2) attend_heads<2, T>(args, piece, head);
  if (group - head == 1) attend_heads<1, T>(args, piece, head);
}

// out (=) what `spans` pieces found for one query head. sums: of the first, `stride` before the
// next; changed.
template <class T>
void merge(float* sums, std::int64_t spans, std::int64_t stride, std::int64_t width, T* out) {
  float largest = std::numeric_limits<float>::lowest(), total = 0.0F;
  for (std::int64_t s = 0; s < spans; ++s) largest = std::max(largest, sums[s * stride]);
  for (std::int64_t s = 0; s < spans; ++s) {
    float& share = sums[s * stride];
    share = std::exp(share - largest);
    total += share * sums[s * stride + 1];
  }
  const float factor = spans > 0 ? 1.0F / total : 0.0F;
  for_vectors(0, width, [=](std::int64_t i, auto lanes) {
    Vec sum = hn::Zero(F32());
    for (std::int64_t s = 0; s < spans; ++s) {
      const float* own = sums + s * stride;
      sum = hn::MulAdd(hn::Set(F32(), own[0]), load(own + 2 + i, lanes), sum);
    }
    store(hn::Mul(sum, hn::Set(F32(), factor)), out + i, lanes);
  });
}

// The pieces of tokens from `token` on, until their sums of `size` numbers each fill the cache;
// token becomes the one after them. first (=): of each of these tokens, the number of its first
// piece, and the number of all pieces.
void cut(const AttentionCachedForwardArgs& args, std::int64_t size, std::int64_t& token,
         std::vector<Piece>& pieces, std::vector<std::int64_t>& first) {
  const std::int64_t enough = (std::int64_t{1} << 18) / size;
  pieces.clear();
  first.assign(1, 0);
  for (; token < args.q_TNH.shape[0] && std::ssize(pieces) <= enough; ++token) {
    const std::int64_t begin = args.first_row_T.as<std::int32_t>()[token];
    const std::int64_t end = args.last_row_T.as<std::int32_t>()[token] + std::int64_t{1};
    const std::int64_t span = span_of(end - begin);
    for (std::int64_t kv_head = 0; kv_head < args.k_RMH.shape[1]; ++kv_head) {
      for (std::int64_t i = begin; i < end; i += span) {
        pieces.push_back({token, kv_head, i, std::min(span, end - i), nullptr});
      }
    }
    first.push_back(std::ssize(pieces));
  }
}

template <class T>
void attend_tokens(const AttentionCachedForwardArgs& args) {
  const std::int64_t heads = args.q_TNH.shape[1], width = args.q_TNH.shape[2];
  if (heads == 0) return;
  const std::int64_t kv_heads = args.k_RMH.shape[1], group = heads / kv_heads;
  const std::int64_t stride = group * (width + 2);
  thread_local std::vector<float> sums;
  thread_local std::vector<Piece> pieces;
  thread_local std::vector<std::int64_t> first;
  for (std::int64_t token = 0; token < args.q_TNH.shape[0];) {
    const std::int64_t begin = token;
    cut(args, stride, token, pieces, first);
    sums.resize(std::max(sums.size(), (pieces.size() + 1) * static_cast<std::size_t>(stride)));
    float* room = sums.data();
    for (Piece& piece : pieces) piece.sums = room + (&piece - pieces.data()) * stride;
    const Piece* piece = pieces.data();
    const std::int64_t span = pieces.empty() ? 0 : pieces.front().count;
    parallel_for(std::ssize(pieces), span * width * group,
                 [=, &args](std::int64_t i) { attend_piece<T>(args, piece[i]); });
    const std::int64_t* starts = first.data();
    const std::int64_t items = (token - begin) * heads;
    parallel_for(items, std::ssize(pieces) * stride / items, [=, &args](std::int64_t i) {
      const std::int64_t t = i / heads, head = i % heads;
      const std::int64_t spans = (starts[t + 1] - starts[t]) / kv_heads;
      float* own = room + (starts[t] + head / group * spans) * stride + head % group * (width + 2);
      merge(own, spans, stride, width, args.out_TNH.as<T>() + (begin * heads + i) * width);
    });
  }
}

void attend(const AttentionCachedForwardArgs& args) {
  visit_float(args.q_TNH.dtype, [&]<class T>() { attend_tokens<T>(args); });
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
