// One block per token; for the gradient, tokens are sorted by id first, without atomics.
#include "kernels/ops/embedding.h"

#include <limits>

#include "kernels/cuda/device/element.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

template <class T>
struct Lookup {
  T* out;
  const T* table;
  const std::int32_t* ids;
  std::int64_t width, begin, rows;
  bool accumulate;
};

template <int kSize, class T>
__global__ void embedding_forward_kernel(Lookup<T> a) {
  const std::int64_t token = blockIdx.x, row = a.ids[token] - a.begin;
  const bool here = row >= 0 && row < a.rows;
  if (!here && a.accumulate) return;
  T* to = a.out + token * a.width;
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kSize; i < a.width;
       i += static_cast<std::int64_t>(blockDim.x) * kSize) {
    Pack<T, kSize> out = {};
    if (here) out = load<kSize>(a.table + row * a.width + i);
    if (a.accumulate) {
      const auto before = load<kSize>(to + i);
#pragma unroll
      for (int e = 0; e < kSize; ++e) {
        out.element[e] = from_float<T>(to_float(before.element[e]) + to_float(out.element[e]));
      }
    }
    store(to + i, out);
  }
}

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

// Tokens by the row of the table that their id names, those that this part does not have last.
struct Rows {
  const std::int32_t* ids;
  std::int64_t begin, count;
  __device__ unsigned of(std::int32_t token) const {
    const std::int64_t row = ids[token] - begin;
    return static_cast<unsigned>(row >= 0 && row < count ? row : count);
  }
};

// One pass of a radix sort: tokens move to where their row's digit puts them, and keep their order
// within a digit. After the passes from the lowest digit to the highest, a row's tokens stand side
// by side, in order. A warp owns neighbours, and looks at 32 of them at a time.
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
constexpr int kRounds = 4, kWarpTokens = kRounds * kWarp, kBlockTokens = kWarps * kWarpTokens;
static_assert(kDigits == kThreads, "a thread for each digit");

struct SortPass {
  Rows rows;
  const std::int32_t* from;  // null: every token in order
  std::int32_t* to;
  int* places;  // [digits, blocks]: how many, then where the first goes
  int tokens, shift;
};

// What a lane looks at in one round.
struct Sorted {
  std::int32_t token;
  int digit;       // negative: none
  unsigned alike;  // lanes with the same digit
  __device__ bool first() const {
    return digit >= 0 &&
           __ffs(static_cast<int>(alike)) - 1 == static_cast<int>(threadIdx.x) % kWarp;
  }
};
__device__ __forceinline__ Sorted look(const SortPass& p, int round) {
  const int i = static_cast<int>(blockIdx.x) * kBlockTokens +
                static_cast<int>(threadIdx.x) / kWarp * kWarpTokens + round * kWarp +
                static_cast<int>(threadIdx.x) % kWarp;
  const bool exists = i < p.tokens;
  Sorted own{.token = 0, .digit = -1, .alike = 0};
  if (exists) {
    own.token = p.from == nullptr ? i : p.from[i];
    own.digit = static_cast<int>(p.rows.of(own.token) >> p.shift) % kDigits;
  }
  own.alike = __ballot_sync(kAllLanes, exists ? 1 : 0);
#pragma unroll
  for (int bit = 0; bit < kDigitBits; ++bit) {
    const bool set = (own.digit >> bit) % 2 != 0;
    const unsigned votes = __ballot_sync(kAllLanes, set ? 1 : 0);
    own.alike &= set ? votes : ~votes;
  }
  return own;
}

// counts [warps, digits] of the block's tokens, in shared memory.
__device__ __forceinline__ void count_digits(const SortPass& p, int* counts) {
  for (int warp = 0; warp < kWarps; ++warp) counts[warp * kDigits + threadIdx.x] = 0;
  __syncthreads();
  int* own = counts + static_cast<int>(threadIdx.x) / kWarp * kDigits;
  for (int round = 0; round < kRounds; ++round) {
    const Sorted at = look(p, round);
    if (at.first()) own[at.digit] += __popc(at.alike);
    __syncwarp();
  }
  __syncthreads();
}

// Shared memory: kWarps * kDigits counts, here and in sort_kernel.
__global__ void sort_count_kernel(SortPass p) {
  int* counts = shared<int>();
  count_digits(p, counts);
  int sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) sum += counts[warp * kDigits + threadIdx.x];
  p.places[threadIdx.x * gridDim.x + blockIdx.x] = sum;
}

// One block: each of `count` numbers becomes the sum of those before it. Shared memory: a word for
// each thread.
__global__ void sort_places_kernel(int* numbers, int count) {
  int* sums = shared<int>();
  const int each = (count + kThreads - 1) / kThreads, own = static_cast<int>(threadIdx.x);
  const int begin = own * each, end = begin + each < count ? begin + each : count;
  int sum = 0;
  for (int i = begin; i < end; ++i) sum += numbers[i];
  sums[own] = sum;
  __syncthreads();
  int before = 0;
  for (int thread = 0; thread < own; ++thread) before += sums[thread];
  for (int i = begin; i < end; ++i) {
    const int number = numbers[i];
    numbers[i] = before;
    before += number;
  }
}

__global__ void sort_kernel(SortPass p) {
  int* places = shared<int>();
  count_digits(p, places);
  int place = p.places[threadIdx.x * gridDim.x + blockIdx.x];
  for (int warp = 0; warp < kWarps; ++warp) {
    int& of_warp = places[warp * kDigits + threadIdx.x];
    const int count = of_warp;
    of_warp = place;
    place += count;
  }
  __syncthreads();
  int* own = places + static_cast<int>(threadIdx.x) / kWarp * kDigits;
  const unsigned lower = (1U << (threadIdx.x % kWarp)) - 1U;
  for (int round = 0; round < kRounds; ++round) {
    const Sorted at = look(p, round);
    if (at.digit >= 0) p.to[own[at.digit] + __popc(at.alike & lower)] = at.token;
    __syncwarp();
    if (at.first()) own[at.digit] += __popc(at.alike);
    __syncwarp();
  }
}

// Tokens sorted by row, in scratch.
const std::int32_t* sort_tokens(Stream& stream, const Rows& rows, int tokens) {
  const int blocks = (tokens + kBlockTokens - 1) / kBlockTokens;
  const auto count = static_cast<std::size_t>(tokens), places = std::size_t{kDigits} * blocks;
  auto* memory =
      static_cast<std::int32_t*>(scratch(stream, (2 * count + places) * sizeof(std::int32_t)));
  SortPass p{.rows = rows,
             .from = nullptr,
             .to = memory,
             .places = memory + 2 * count,
             .tokens = tokens,
             .shift = 0};
  const LaunchShape shape{
      .blocks_x = blocks, .threads = kThreads, .shared_bytes = kWarps * kDigits * sizeof(int)};
  for (; rows.count >> p.shift > 0; p.shift += kDigitBits) {
    launch(stream, "embedding_backward_weight", shape, sort_count_kernel, p);
    launch(stream, "embedding_backward_weight",
           {.threads = kThreads, .shared_bytes = kThreads * sizeof(int)}, sort_places_kernel,
           p.places, static_cast<int>(places));
    launch(stream, "embedding_backward_weight", shape, sort_kernel, p);
    p.from = p.to;
    p.to = memory + (p.to == memory ? count : 0);
  }
  return p.from;
}

template <class T>
struct Gradient {
  float* table;
  const T* dy;
  const std::int32_t* sorted;
  Rows rows;
  std::int64_t width;
  int tokens;
};

// Elements of a row of the table, 16 bytes at a time where there are as many.
template <int kSize>
__device__ __forceinline__ void load_sums(float (&sum)[kSize], const float* from) {
  constexpr int kPart = kSize < 4 ? kSize : 4;
#pragma unroll
  for (int e = 0; e < kSize; e += kPart) {
    const auto part = load<kPart>(from + e);
#pragma unroll
    for (int i = 0; i < kPart; ++i) sum[e + i] = part.element[i];
  }
}
template <int kSize>
__device__ __forceinline__ void store_sums(float* to, const float (&sum)[kSize]) {
  constexpr int kPart = kSize < 4 ? kSize : 4;
#pragma unroll
  for (int e = 0; e < kSize; e += kPart) {
    Pack<float, kPart> part;
#pragma unroll
    for (int i = 0; i < kPart; ++i) part.element[i] = sum[e + i];
    store(to + e, part);
  }
}

// Adds the dy of a row's tokens, which begin at place `first`, in their order. kAtOnce of them are
// on their way at a time.
constexpr int kAtOnce = 8;

template <int kSize, class T>
__device__ __forceinline__ void add_tokens(const Gradient<T>& a, int first, unsigned row,
                                           std::int64_t column) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const bool inside = column < a.width;
  float* to = a.table + row * a.width + column;
  float sum[kSize] = {};
  if (inside) load_sums(sum, to);
  int count = kWarp;  // of this row's tokens in the last 32
  for (int at = first; count == kWarp; at += kWarp) {
    const std::int32_t token = at + lane < a.tokens ? a.sorted[at + lane] : -1;
    const unsigned others = __ballot_sync(kAllLanes, token < 0 || a.rows.of(token) != row ? 1 : 0);
    count = others == 0 ? kWarp : __ffs(static_cast<int>(others)) - 1;
    for (int begin = 0; begin < count; begin += kAtOnce) {
      Pack<T, kSize> dy[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const std::int64_t from = __shfl_sync(kAllLanes, token, begin + i);
        if (inside && begin + i < count) dy[i] = load<kSize>(a.dy + from * a.width + column);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (begin + i >= count) continue;
#pragma unroll
        for (int e = 0; e < kSize; ++e) sum[e] += to_float(dy[i].element[e]);
      }
    }
  }
  if (inside) store_sums(to, sum);
}

// A warp for each 32 places in the order and each strip of columns: it serves the rows whose first
// token stands there. A frequent token so occupies a warp for each strip.
constexpr int kSumThreads = 128;

template <int kSize, class T>
__global__ void embedding_backward_weight_kernel(Gradient<T> a) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int place = static_cast<int>(blockIdx.x) * kSumThreads + static_cast<int>(threadIdx.x);
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * kWarp + lane) * kSize;
  unsigned row = 0;
  bool begins = false;
  if (place < a.tokens) {
    row = a.rows.of(a.sorted[place]);
    begins = row < a.rows.count && (place == 0 || a.rows.of(a.sorted[place - 1]) != row);
  }
  for (unsigned left = __ballot_sync(kAllLanes, begins ? 1 : 0); left != 0; left &= left - 1) {
    const int other = __ffs(static_cast<int>(left)) - 1;
    add_tokens<kSize>(a, place - lane + other, __shfl_sync(kAllLanes, row, other), column);
  }
}

}  // namespace

void embedding_forward(Stream& stream, const EmbeddingForwardArgs& args) {
  visit_float(args.out_TD.dtype, [&]<class T>() {
    const Lookup<T> a{.out = args.out_TD.as<T>(),
                      .table = args.table_VD.as<T>(),
                      .ids = args.ids_T.as<std::int32_t>(),
                      .width = args.out_TD.shape[1],
                      .begin = args.row_begin,
                      .rows = args.table_VD.shape[0],
                      .accumulate = args.accumulate};
    const LaunchShape shape{.blocks_x = args.out_TD.shape[0], .threads = 128};
    fits_packs<T>(a.width, a.out, a.table)
        ? launch(stream, "embedding_forward", shape, embedding_forward_kernel<kWhole<T>, T>, a)
        : launch(stream, "embedding_forward", shape, embedding_forward_kernel<1, T>, a);
  });
}

void embedding_backward_weight(Stream& stream, Tensor dtable, ConstTensor dy, ConstTensor ids,
                               std::int64_t row_begin) {
  const std::int64_t tokens = dy.shape[0], width = dy.shape[1], count = dtable.shape[0];
  if (tokens == 0 || count == 0) return;
  constexpr std::int64_t kMost = std::numeric_limits<int>::max() / 2;
  FRUGAL_CHECK(tokens <= kMost && count <= kMost, "embedding_backward_weight: ", tokens,
               " tokens and ", count, " rows: too many for one call");
  const Rows rows{.ids = ids.as<std::int32_t>(), .begin = row_begin, .count = count};
  const std::int32_t* sorted = sort_tokens(stream, rows, static_cast<int>(tokens));
  visit_float(dy.dtype, [&]<class T>() {
    const Gradient<T> a{.table = dtable.as<float>(),
                        .dy = dy.as<T>(),
                        .sorted = sorted,
                        .rows = rows,
                        .width = width,
                        .tokens = static_cast<int>(tokens)};
    const auto run = [&]<int kSize>() {
      constexpr std::int64_t kStrip = kWarp * kSize;
      launch(stream, "embedding_backward_weight",
             {.blocks_x = (tokens + kSumThreads - 1) / kSumThreads,
              .blocks_y = (width + kStrip - 1) / kStrip,
              .threads = kSumThreads},
             embedding_backward_weight_kernel<kSize, T>, a);
    };
    fits_packs<T>(width, a.dy, a.table) ? run.template operator()<kWhole<T>>()
                                        : run.template operator()<1>();
  });
}

}  // namespace frugal::cu
