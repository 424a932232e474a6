// Attention's forward on tensor cores. Source: FlashAttention-2 (arXiv 2307.08691).
//
// A block owns 64 queries of a head, a warp 16 of them. It walks over the keys that they see in
// tiles; values arrive while scores are computed, the next keys while values are summed.
#include <algorithm>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_mma.h"
#include "kernels/cuda/launch.h"

namespace frugal::cu {
namespace {

constexpr int kQueries = 64, kThreads = kQueries / kWarpRows * kWarp;

// Which keys a lane's two queries see, 8 positions apart.
struct Sight {
  int position, first[2];
  __device__ bool sees(int r, int key) const { return key >= first[r] && key <= position + 8 * r; }
  // Keys [key, key + count), both.
  __device__ bool sees_all(int key, int count) const {
    return key >= first[0] && key >= first[1] && key + count - 1 <= position;
  }
};

// The softmax of a lane's two rows as far as their keys are known.
struct RunningSoftmax {
  float largest[2] = {-INFINITY, -INFINITY};
  float total[2] = {};  // of the lane's own keys
};

// Scores become weights relative to the largest so far; factor: for sums relative to the last one.
template <int kKeys>
__device__ __forceinline__ void weigh(RunningSoftmax& softmax, float (&scores)[kKeys / 8][4],
                                      float scale_log2, float (&factor)[2]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float now = softmax.largest[r];
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
      now = fmaxf(now, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
    }
    now = fmaxf(now, __shfl_xor_sync(kAllLanes, now, 1));
    now = fmaxf(now, __shfl_xor_sync(kAllLanes, now, 2));
    const float base = now == -INFINITY ? 0.0F : now * scale_log2;  // no key seen so far
    factor[r] = exp2f(fmaf(softmax.largest[r], scale_log2, -base));
    softmax.largest[r] = now;
    softmax.total[r] *= factor[r];
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 2 * r; i < 2 * r + 2; ++i) {
        scores[n][i] = exp2f(fmaf(scores[n][i], scale_log2, -base));
        softmax.total[r] += scores[n][i];
      }
    }
  }
}

// Shared memory: 64 queries, a tile of keys, a tile of values.
template <class T, int kDim, int kValueDim, int kKeys>
__global__ void __launch_bounds__(kThreads, kDim == 64 ? 3 : 1)
    mma_attention_forward_kernel(AttentionProblem<T> p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int own = static_cast<int>(threadIdx.x) / kWarp * kWarpRows;
  const int length = static_cast<int>(p.length), dim = static_cast<int>(p.dim);
  const int value_dim = static_cast<int>(p.value_dim);
  const int heads = static_cast<int>(p.heads), kv_heads = static_cast<int>(p.kv_heads);
  const int tiles = (length + kQueries - 1) / kQueries;
  const std::int64_t sequence = blockIdx.x / tiles, begin = sequence * length;
  // The last see most keys: they go first.
  const int first = (tiles - 1 - static_cast<int>(blockIdx.x % tiles)) * kQueries;
  const std::int64_t head = blockIdx.y, kv_head = head / (p.heads / p.kv_heads);
  const MmaTile<T, kDim> queries{shared<T>()}, keys{queries.at + kQueries * kDim};
  const MmaTile<T, kValueDim> values{keys.at + kKeys * kDim};
  const auto copy_keys = [&](int key) {
    copy_rows<kKeys, kThreads>(keys, GlobalRows<const T>{p.key_row(begin + key, kv_head),
                                                         kv_heads * dim, length - key, dim});
    commit_copies();
  };
  const auto copy_values = [&](int key) {
    copy_rows<kKeys, kThreads>(
        values, GlobalRows<const T>{p.value_row(begin + key, kv_head), kv_heads * value_dim,
                                    length - key, value_dim});
    commit_copies();
  };
  Sight sight{.position = first + own + lane / 4, .first = {}};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int position = sight.position + 8 * r;
    if (position < length) sight.first[r] = static_cast<int>(p.first_visible(sequence, position));
  }
  // Documents begin in order, so the block's first query sees farthest back.
  const int from = static_cast<int>(p.first_visible(sequence, first)) / kKeys * kKeys;
  const int end = first + kQueries < length ? first + kQueries : length;
  copy_rows<kQueries, kThreads>(queries, GlobalRows<const T>{p.query_row(begin + first, head),
                                                             heads * dim, length - first, dim});
  copy_keys(from);
  float sums[kValueDim / 8][4] = {};
  RunningSoftmax softmax;
  const float scale_log2 = p.scale * kLog2E;
  for (int key = from; key < end; key += kKeys) {
    wait_copies<0>();
    __syncthreads();  // keys are there; nobody reads the last values any more
    copy_values(key);
    float scores[kKeys / 8][4] = {};
    add_row_products<kKeys>(scores, queries, own, keys);
    if (!sight.sees_all(key, kKeys)) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (!sight.sees(i / 2, key + 8 * n + lane % 4 * 2 + i % 2)) scores[n][i] = -INFINITY;
        }
      }
    }
    float factor[2];
    weigh<kKeys>(softmax, scores, scale_log2, factor);
    MmaWeights<kKeys> weights;
    round_weights<T, kKeys>(weights, scores);
#pragma unroll
    for (int n = 0; n < kValueDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[n][i] *= factor[i / 2];
    }
    wait_copies<0>();
    __syncthreads();  // values are there; nobody reads these keys any more
    if (key + kKeys < end) copy_keys(key + kKeys);
    add_weighted_rows<kKeys>(sums, weights, values);
  }
  float reciprocal[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float total = softmax.total[r];
    total += __shfl_xor_sync(kAllLanes, total, 1);
    total += __shfl_xor_sync(kAllLanes, total, 2);
    reciprocal[r] = 1.0F / total;
    const int position = sight.position + 8 * r;
    if (lane % 4 != 0 || position >= length) continue;
    p.lse[(begin + position) * p.heads + head] = softmax.largest[r] * p.scale + logf(total);
  }
  write_rows<kValueDim>(GlobalRows<T>{p.out + ((begin + first + own) * p.heads + head) * value_dim,
                                      heads * value_dim, length - first - own, value_dim},
                        sums, reciprocal, queries, own);
}

template <int kDim, int kValueDim, int kKeys, class T>
void run(Stream& stream, const AttentionProblem<T>& p, std::int64_t tokens) {
  const std::int64_t sequences = p.length == 0 ? 0 : tokens / p.length;
  launch(stream, "attention_forward",
         {.blocks_x = sequences * ((p.length + kQueries - 1) / kQueries),
          .blocks_y = p.heads,
          .threads = kThreads,
          .shared_bytes = ((kQueries + kKeys) * kDim + kKeys * kValueDim) * sizeof(T)},
         mma_attention_forward_kernel<T, kDim, kValueDim, kKeys>, p);
}

}  // namespace

// No block has more than 48 KiB of shared memory: every card gives that, most to two blocks at
// once.
void mma_attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  visit_mma_type(args.q_TNH.dtype, [&]<class T>() {
    const auto p = forward_problem_of<T>(args);
    const std::int64_t tokens = args.q_TNH.shape[0];
    if (p.widest() <= 64) return run<64, 64, 64>(stream, p, tokens);
    if (p.widest() <= 128) return run<128, 128, 64>(stream, p, tokens);
    if (p.dim <= 192 && p.value_dim <= 128) return run<192, 128, 32>(stream, p, tokens);
    if (p.widest() <= 192) return run<192, 192, 32>(stream, p, tokens);
    run<256, 256, 16>(stream, p, tokens);
  });
}

}  // namespace frugal::cu
