// Attention's backward on tensor cores. Source: FlashAttention-2 (arXiv 2307.08691), without
// atomics: queries' gradients have a kernel of their own, which computes the weights again.
//
// A block owns rows, queries or keys; a warp 16 of them. It walks over the other side in tiles. Two
// products of own rows with tiles give weights and their gradients, which stay in registers and are
// the weights of sums over a tile. Half a tile arrives while the other is computed with.
#include <cstddef>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_mma.h"
#include "kernels/cuda/launch.h"

namespace frugal::cu {
namespace {

// What a backward knows of a query before it begins. It stands in the first bytes of the query's
// row of dq until dq is written, last: no other scratch is needed.
struct alignas(16) QueryFacts {
  float lse_log2;  // lse in powers of two
  float delta;     // sum of dout * out
  int first;       // the first position that it sees
  int unused;
};
static_assert(sizeof(QueryFacts) == kPiece * sizeof(BFloat16));

constexpr int kFactThreads = 256, kFactLanes = 8;  // lanes of a row

template <class T>
__global__ void mma_attention_facts_kernel(AttentionProblem<T> p, std::int64_t rows) {
  const std::int64_t row =
      (static_cast<std::int64_t>(blockIdx.x) * kFactThreads + threadIdx.x) / kFactLanes;
  const int lane = static_cast<int>(threadIdx.x) % kFactLanes;
  float sum = 0.0F;
  for (std::int64_t h = lane * kPiece; row < rows && h < p.value_dim; h += kFactLanes * kPiece) {
    const auto a = load<kPiece>(p.dout + row * p.value_dim + h);
    const auto b = load<kPiece>(p.out + row * p.value_dim + h);
#pragma unroll
    for (int i = 0; i < kPiece; ++i)
      sum = fmaf(to_float(a.element[i]), to_float(b.element[i]), sum);
  }
  for (int distance = kFactLanes / 2; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, distance);
  }
  if (lane != 0 || row >= rows) return;
  const std::int64_t token = row / p.heads;
  *reinterpret_cast<QueryFacts*>(p.dq + row * p.dim) = {
      .lse_log2 = p.lse[row] * kLog2E,
      .delta = sum,
      .first = static_cast<int>(p.first_visible(token / p.length, token % p.length)),
      .unused = 0};
}

// Which gradients a kernel computes, and from what:
//                    own rows  first product      second product      sums
//   kQueries         queries   dout with values   queries with keys   dq: keys
//   kKeys            keys      values with dout   keys with queries   dk: queries
//   kKeysAndValues   keys      values with dout   keys with queries   dk: queries, dv: dout
//   kValues          keys      keys with queries  -                   dv: dout
// What own rows are multiplied with is half a tile; sums are over rows of the same halves.
enum class Gradient : std::uint8_t { kQueries, kKeys, kKeysAndValues, kValues };

// Sizes of a kernel's blocks. Head dimensions: of queries and keys, of values and dout.
template <int kKeyDimension, int kValueDimension, int kOwnRows, int kTileColumns>
struct BackwardSizes {
  static constexpr int kDim = kKeyDimension, kValueDim = kValueDimension;
  static constexpr int kRows = kOwnRows, kColumns = kTileColumns;
};

// Shared memory: own rows of the first and, if there is one, the second product; the halves of a
// tile; for own keys, the facts of a tile's queries. kFirstDim, kSecondDim: of what the first and
// the second half of a tile hold.
template <class T, class Sizes, Gradient kGradient>
struct BackwardLayout {
  static constexpr bool kOwnQueries = kGradient == Gradient::kQueries;
  static constexpr bool kTwoProducts = kGradient != Gradient::kValues;
  static constexpr int kRows = Sizes::kRows, kColumns = Sizes::kColumns;
  static constexpr int kThreads = kRows / kWarpRows * kWarp;
  static constexpr int kFirstDim = kTwoProducts ? Sizes::kValueDim : Sizes::kDim;
  static constexpr int kSecondDim = kTwoProducts ? Sizes::kDim : Sizes::kValueDim;
  static constexpr int kOwn = kRows * (kFirstDim + (kTwoProducts ? kSecondDim : 0));  // elements
  static constexpr std::size_t kBytes = (kOwn + kColumns * (kFirstDim + kSecondDim)) * sizeof(T) +
                                        (kOwnQueries ? 0 : kColumns * sizeof(QueryFacts));
};

// Where a block is in its walk: the first position of a tile, and a head of the other side.
struct Walk {
  int position, head;
};

// Weights and their gradients from the two products, in place. facts_of(row, column): of the query
// of an element; row: 0 or 1, of the lane's own.
template <int kColumns, bool kOwnQueries>
struct WeightGradients {
  int own;       // the lane's first own position; the second is 8 further
  int position;  // of the tile's first row
  bool masked;   // whether a query of the block and the tile may not see a key of them
  float scale, scale_log2;

  template <bool kGradients, class FactsOf>
  __device__ void compute(float (&scores)[kColumns / 8][4], float (&dweights)[kColumns / 8][4],
                          FactsOf facts_of) const {
    const int place = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = 8 * n + place + i % 2;
        const QueryFacts& facts = facts_of(i / 2, column);
        const int row = own + i / 2 * 8;
        const int query = kOwnQueries ? row : position + column;
        const int key = kOwnQueries ? position + column : row;
        const bool seen = !masked || (key >= facts.first && key <= query);
        const float weight = seen ? exp2f(fmaf(scores[n][i], scale_log2, -facts.lse_log2)) : 0.0F;
        scores[n][i] = weight;
        if constexpr (kGradients) {
          dweights[n][i] = weight * scale * (dweights[n][i] - facts.delta);
        }
      }
    }
  }
};

template <class T, class Sizes, Gradient kGradient>
__global__ void __launch_bounds__(BackwardLayout<T, Sizes, kGradient>::kThreads, 1)
    mma_attention_backward_kernel(AttentionProblem<T> p) {
  if constexpr (kTuring && Sizes::kDim > 192) return;  // spills, and is never launched
  using Layout = BackwardLayout<T, Sizes, kGradient>;
  constexpr int kRows = Layout::kRows, kColumns = Layout::kColumns;
  constexpr int kFirstDim = Layout::kFirstDim, kSecondDim = Layout::kSecondDim;
  constexpr bool kOwnQueries = Layout::kOwnQueries, kTwoProducts = Layout::kTwoProducts;
  constexpr bool kBoth = kGradient == Gradient::kKeysAndValues;
  constexpr int kThreads = Layout::kThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int own = static_cast<int>(threadIdx.x) / kWarp * kWarpRows;
  const int length = static_cast<int>(p.length), dim = static_cast<int>(p.dim);
  const int first_dim = static_cast<int>(kTwoProducts ? p.value_dim : p.dim);
  const int second_dim = static_cast<int>(kTwoProducts ? p.dim : p.value_dim);
  const int blocks = (length + kRows - 1) / kRows, block = static_cast<int>(blockIdx.x % blocks);
  const std::int64_t sequence = blockIdx.x / blocks, begin = sequence * length;
  // What sees or is seen most goes first: the last queries, the first keys.
  const int first = (kOwnQueries ? blocks - 1 - block : block) * kRows;
  const int own_heads = static_cast<int>(kOwnQueries ? p.heads : p.kv_heads);
  const int heads = static_cast<int>(kOwnQueries ? p.kv_heads : p.heads);
  const int group = static_cast<int>(p.heads / p.kv_heads), own_head = static_cast<int>(blockIdx.y);
  const int first_head = kOwnQueries ? own_head / group : own_head * group;
  const int end_head = kOwnQueries ? first_head + 1 : first_head + group;

  const MmaTile<T, kFirstDim> own_first{shared<T>()};
  const MmaTile<T, kTwoProducts ? kSecondDim : kFirstDim> own_second{
      own_first.at + (kTwoProducts ? kRows * kFirstDim : 0)};
  const MmaTile<T, kFirstDim> tile_first{own_first.at + Layout::kOwn};
  const MmaTile<T, kSecondDim> tile_second{tile_first.at + kColumns * kFirstDim};
  auto* tile_facts = reinterpret_cast<QueryFacts*>(tile_second.at + kColumns * kSecondDim);

  const auto own_rows = [&](const T* x, int size) {
    return GlobalRows<const T>{x + ((begin + first) * own_heads + own_head) * size,
                               own_heads * size, length - first, size};
  };
  const auto tile_rows = [&](const T* x, int size, const Walk& at) {
    return GlobalRows<const T>{x + ((begin + at.position) * heads + at.head) * size, heads * size,
                               length - at.position, size};
  };
  const auto copy_first = [&](const Walk& at) {
    const T* x = kOwnQueries ? p.v : kTwoProducts ? p.dout : p.q;
    copy_rows<kColumns, kThreads>(tile_first, tile_rows(x, first_dim, at));
    commit_copies();
  };
  const auto copy_second = [&](const Walk& at) {
    const T* x = kOwnQueries ? p.k : kTwoProducts ? p.q : p.dout;
    copy_rows<kColumns, kThreads>(tile_second, tile_rows(x, second_dim, at));
    if constexpr (!kOwnQueries) {
      for (int i = static_cast<int>(threadIdx.x); i < kColumns; i += kThreads) {
        const bool exists = at.position + i < length;
        const std::int64_t token = begin + at.position + (exists ? i : 0);
        copy_async(tile_facts + i, p.dq + (token * heads + at.head) * dim, exists);
      }
    }
    commit_copies();
  };

  // The tiles that have something to do with the block.
  int from = first / kColumns * kColumns, end = length;
  if constexpr (kOwnQueries) {
    from = static_cast<int>(p.first_visible(sequence, first)) / kColumns * kColumns;
    end = first + kRows < length ? first + kRows : length;
  } else if (p.document_start != nullptr) {
    end = from;
    while (end < length && p.first_visible(sequence, end) < first + kRows) end += kColumns;
  }
  QueryFacts own_facts[2] = {};
  if constexpr (kOwnQueries) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int position = first + own + lane / 4 + 8 * r;
      if (position >= length) continue;
      own_facts[r] = *reinterpret_cast<const QueryFacts*>(
          p.dq + ((begin + position) * p.heads + own_head) * dim);
    }
  }

  copy_rows<kRows, kThreads>(own_first, own_rows(kOwnQueries    ? p.dout
                                                 : kTwoProducts ? p.v
                                                                : p.k,
                                                 first_dim));
  if constexpr (kTwoProducts) {
    copy_rows<kRows, kThreads>(own_second, own_rows(kOwnQueries ? p.q : p.k, second_dim));
  }
  Walk at{from, first_head};
  copy_first(at);
  float sums[kSecondDim / 8][4] = {};               // over rows of tile_second
  float values[kBoth ? kFirstDim / 8 : 1][4] = {};  // over rows of tile_first
  while (at.head < end_head) {
    Walk next{at.position + kColumns, at.head};
    if (next.position >= end) next = {from, at.head + 1};
    wait_copies<0>();
    __syncthreads();  // the first half is there; nobody reads the last second half any more
    copy_second(at);
    float scores[kColumns / 8][4] = {}, dweights[kColumns / 8][4] = {};
    add_row_products<kColumns>(kTwoProducts ? dweights : scores, own_first, own, tile_first);
    wait_copies<0>();
    __syncthreads();  // the second half is there; but for values, nobody needs the first any more
    if (!kBoth && next.head < end_head) copy_first(next);
    if constexpr (kTwoProducts) {
      add_row_products<kColumns>(scores, own_second, own, tile_second);
    }
    const bool masked = p.document_start != nullptr || (kOwnQueries ? at.position + kColumns > first
                                                                    : at.position < first + kRows);
    const WeightGradients<kColumns, kOwnQueries> gradients{first + own + lane / 4, at.position,
                                                           masked, p.scale, p.scale * kLog2E};
    gradients.template compute<kTwoProducts>(
        scores, dweights, [&](int r, int column) -> const QueryFacts& {
          return kOwnQueries ? own_facts[r] : tile_facts[column];
        });
    MmaWeights<kColumns> weights;
    if constexpr (kBoth) {
      round_weights<T, kColumns>(weights, scores);
      add_weighted_rows<kColumns>(values, weights, tile_first);
      __syncthreads();  // nobody needs the first half any more
      if (next.head < end_head) copy_first(next);
    }
    round_weights<T, kColumns>(weights, kTwoProducts ? dweights : scores);
    add_weighted_rows<kColumns>(sums, weights, tile_second);
    at = next;
  }

  T* const out = kOwnQueries ? p.dq : kTwoProducts ? p.dk : p.dv;
  const std::int64_t place = (begin + first + own) * own_heads + own_head;
  const auto out_rows = [&](T* x, int size) {
    return GlobalRows<T>{x + place * size, own_heads * size, length - first - own, size};
  };
  const float factor[2] = {1.0F, 1.0F};
  write_rows<kSecondDim>(out_rows(out, second_dim), sums, factor, own_second, own);
  if constexpr (kBoth) {
    write_rows<kFirstDim>(out_rows(p.dv, first_dim), values, factor, own_first, own);
  }
}

template <class Sizes>
struct Config {
  template <Gradient kGradient, class T>
  static void launch_gradient(Stream& stream, const AttentionProblem<T>& p, std::int64_t tokens) {
    using Layout = BackwardLayout<T, Sizes, kGradient>;
    constexpr int kRows = Layout::kRows;
    const std::int64_t sequences = p.length == 0 ? 0 : tokens / p.length;
    launch(stream, "attention_backward_input",
           {.blocks_x = sequences * ((p.length + kRows - 1) / kRows),
            .blocks_y = Layout::kOwnQueries ? p.heads : p.kv_heads,
            .threads = Layout::kThreads,
            .shared_bytes = Layout::kBytes},
           mma_attention_backward_kernel<T, Sizes, kGradient>, p);
  }

  // Writes dq last, since until then facts stand in its place.
  template <class T>
  static void run(Stream& stream, const AttentionProblem<T>& p, std::int64_t tokens) {
    if constexpr (Sizes::kDim <= 128) {
      launch_gradient<Gradient::kKeysAndValues>(stream, p, tokens);
    } else {  // registers do not hold the sums of both
      launch_gradient<Gradient::kValues>(stream, p, tokens);
      launch_gradient<Gradient::kKeys>(stream, p, tokens);
    }
    launch_gradient<Gradient::kQueries>(stream, p, tokens);
  }
};

}  // namespace

void mma_attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  visit_mma_type(args.q_TNH.dtype, [&]<class T>() {
    const auto p = backward_problem_of<T>(args);
    const std::int64_t tokens = args.q_TNH.shape[0], rows = tokens * p.heads;
    launch(stream, "attention_backward_input", thread_for_each(rows * kFactLanes),
           mma_attention_facts_kernel<T>, p, rows);
    const auto run = [&]<int kDim, int kValueDim, int kRows>() {
      Config<BackwardSizes<kDim, kValueDim, kRows, 32>>::run(stream, p, tokens);
    };
    if (p.widest() <= 64) return run.template operator()<64, 64, 64>();
    if (p.widest() <= 128) return run.template operator()<128, 128, 64>();
    if (p.dim <= 192 && p.value_dim <= 128) return run.template operator()<192, 128, 64>();
    // Cards before 8.0 give a block 64 KiB of shared memory, and compute with float16 alone.
    if constexpr (std::is_same_v<T, Float16>) {
      if (gpu_of(stream).version < 80) return run.template operator()<192, 192, 32>();
    }
    if (p.widest() <= 192) return run.template operator()<192, 192, 64>();
    run.template operator()<256, 256, 64>();
  });
}

}  // namespace frugal::cu
