// Attention over cached keys: an item is a new token and a key/value head, whose query heads share
// the keys while they are in the cache of the core. Running maximum and sum as in attention.cc.
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

#include "kernels/cpu/exp_inl.h"
#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

constexpr std::int64_t kKeys = 64;        // of a block: they stay in the first cache
constexpr std::int64_t kMostWidth = 256;  // of a head

// One query head's sums over the keys so far.
struct HeadSums {
  float largest = -std::numeric_limits<float>::infinity();
  float total = 0.0F;
  HWY_ALIGN float out[kMostWidth] = {};
};

// Adds keys [begin, end) of the cache, at most kKeys of them, to the sums of one query.
template <class T>
void add_keys(const AttentionCachedForwardArgs& args, const T* query, std::int64_t kv_head,
              std::int64_t begin, std::int64_t end, HeadSums& sums) {
  const std::int64_t width = args.q_TNH.shape[2], stride = args.k_RMH.shape[1] * width;
  const T* keys = args.k_RMH.as<T>() + kv_head * width;
  const T* values = args.v_RMH.as<T>() + kv_head * width;
  HWY_ALIGN float scores[kKeys];
  float largest = sums.largest;
  for (std::int64_t j = begin; j < end; ++j) {
    const T* key = keys + j * stride;
    const float dot = sum_vectors(width, [=](std::int64_t i, auto lanes) {
      return hn::Mul(load(query + i, lanes), load(key + i, lanes));
    });
    scores[j - begin] = dot * args.scale;
    largest = std::max(largest, scores[j - begin]);
  }
  const float shrink = std::exp(sums.largest - largest);
  sums.largest = largest;
  const auto count = end - begin;
  float* weights = scores;
  sums.total = sums.total * shrink + sum_vectors(count, [=](std::int64_t i, auto lanes) {
                 const Vec weight =
                     exp_of(hn::Sub(load(weights + i, lanes), hn::Set(F32(), largest)));
                 store(weight, weights + i, lanes);
                 return weight;
               });
  float* out = sums.out;
  for_vectors(0, width, [=](std::int64_t i, auto lanes) {
    Vec sum = hn::Mul(load(out + i, lanes), hn::Set(F32(), shrink));
    const T* value = values + begin * stride + i;
    for (std::int64_t j = 0; j < count; ++j) {
      sum = hn::MulAdd(hn::Set(F32(), weights[j]), load(value + j * stride, lanes), sum);
    }
    store(sum, out + i, lanes);
  });
}

template <class T>
void attend_item(const AttentionCachedForwardArgs& args, std::int64_t token, std::int64_t kv_head) {
  const std::int64_t heads = args.q_TNH.shape[1], width = args.q_TNH.shape[2];
  const std::int64_t group = heads / args.k_RMH.shape[1];
  const std::int64_t end = args.last_row_T.as<std::int32_t>()[token] + std::int64_t{1};
  const T* queries = args.q_TNH.as<T>() + (token * heads + kv_head * group) * width;
  T* out = args.out_TNH.as<T>() + (token * heads + kv_head * group) * width;
  thread_local std::vector<HeadSums> sums;
  sums.assign(static_cast<std::size_t>(group), HeadSums());
  for (std::int64_t begin = args.first_row_T.as<std::int32_t>()[token]; begin < end;
       begin += kKeys) {
    for (std::int64_t g = 0; g < group; ++g) {
      add_keys(args, queries + g * width, kv_head, begin, std::min(begin + kKeys, end),
               sums[static_cast<std::size_t>(g)]);
    }
  }
  for (std::int64_t g = 0; g < group; ++g) {
    const HeadSums& head = sums[static_cast<std::size_t>(g)];
    const bool seen = end > args.first_row_T.as<std::int32_t>()[token];
    const float factor = seen ? 1.0F / head.total : 0.0F;
    const float* from = head.out;
    T* to = out + g * width;
    for_vectors(0, width, [=](std::int64_t i, auto lanes) {
      store(hn::Mul(load(from + i, lanes), hn::Set(F32(), factor)), to + i, lanes);
    });
  }
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
