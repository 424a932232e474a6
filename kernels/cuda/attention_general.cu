// Attention for every card, type and head dimension: multiply-adds in float32, no tensor cores, no
// scratch in global memory. Slower than what a card can do; the last in the list of
// implementations.
//
// A block owns a tile of rows (queries, or keys for their gradients), each warp some of them. It
// walks over the other side in tiles of 32, which stand in shared memory one after the other; a
// lane computes the score of one of the 32, then the lanes share out the head dimension. Every sum
// has one order.
#include <algorithm>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_problem.h"
#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/reduce.h"
#include "kernels/cuda/launch.h"

namespace frugal::cu {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;

// 32 rows in shared memory; an odd number of words apart, so that lanes that read one element of 32
// rows meet no other lane's bank.
template <class T>
struct Tile {
  T* at;
  int stride;
  __device__ float get(int row, std::int64_t column) const {
    return to_float(at[row * stride + column]);
  }
};
// Of all tiles: rows of either dimension fit.
template <class T>
constexpr int stride_of(const AttentionProblem<T>& p, std::size_t element) {
  const auto per_word = static_cast<std::int64_t>(4 / element);
  const std::int64_t words = (p.widest() + per_word - 1) / per_word;
  return static_cast<int>((words | 1) * per_word);
}

// Copies rows first, first + 1, ... of x to the tile; rows from `end` on are zero.
// row_at(position): its address.
template <class T, class RowAt>
__device__ __forceinline__ void fill_tile(Tile<T> tile, int rows, std::int64_t first,
                                          std::int64_t end, std::int64_t dim, RowAt row_at) {
  for (int row = static_cast<int>(threadIdx.x) / kWarp; row < rows; row += kWarps) {
    const bool exists = first + row < end;
    const T* from = exists ? row_at(first + row) : nullptr;
    for (std::int64_t h = threadIdx.x % kWarp; h < dim; h += kWarp) {
      tile.at[row * tile.stride + h] = exists ? from[h] : from_float<T>(0.0F);
    }
  }
}

// The products of a row of one tile with the lane's row of another.
template <class T>
__device__ __forceinline__ float lane_dot(Tile<T> own, int row, Tile<T> other, std::int64_t dim) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float sum = 0.0F;
#pragma unroll 4
  for (std::int64_t h = 0; h < dim; ++h) sum = fmaf(own.get(row, h), other.get(lane, h), sum);
  return sum;
}

// sums += the rows of a tile, each times a lane's weight; the lane's columns are lane, lane + 32,
// ...
template <int kColumns, class T>
__device__ __forceinline__ void add_weighted_rows(float (&sums)[kColumns], float weight,
                                                  Tile<T> tile, std::int64_t dim) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll 4
  for (int row = 0; row < kWarp; ++row) {
    const float w = __shfl_sync(kAllLanes, weight, row);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = c * kWarp + lane;
      if (column < dim) sums[c] = fmaf(w, tile.get(row, column), sums[c]);
    }
  }
}

template <int kColumns, class T>
__device__ __forceinline__ void write_row(T* to, const float (&sums)[kColumns], float factor,
                                          std::int64_t dim) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int column = c * kWarp + lane;
    if (column < dim) to[column] = from_float<T>(sums[c] * factor);
  }
}

// Where a block and a warp stand. blockIdx.x counts tiles of rows of all sequences, y heads.
template <int kRows>
struct Place {
  std::int64_t sequence, first, own;  // first row of the block and of the warp, in the sequence
  std::int64_t head;
  __device__ explicit Place(std::int64_t length) {
    constexpr int kBlockRows = kWarps * kRows;
    const std::int64_t tiles = (length + kBlockRows - 1) / kBlockRows;
    sequence = blockIdx.x / tiles;
    first = blockIdx.x % tiles * kBlockRows;
    own = first + static_cast<std::int64_t>(threadIdx.x) / kWarp * kRows;
    head = blockIdx.y;
  }
};

// Shared memory: the block's queries, 32 keys or values.
template <int kColumns, int kRows, class T>
__global__ void attention_forward_kernel(AttentionProblem<T> p) {
  constexpr int kBlockRows = kWarps * kRows;
  const Place<kRows> place(p.length);
  const int stride = stride_of(p, sizeof(T)), lane = static_cast<int>(threadIdx.x) % kWarp;
  const int own = static_cast<int>(place.own - place.first);
  const Tile<T> queries{shared<T>(), stride}, tile{queries.at + kBlockRows * stride, stride};
  const std::int64_t begin = place.sequence * p.length;
  const std::int64_t kv_head = place.head / (p.heads / p.kv_heads);
  const std::int64_t end = std::min(place.first + kBlockRows, p.length);
  fill_tile(queries, kBlockRows, place.first, p.length, p.dim,
            [&](std::int64_t i) { return p.query_row(begin + i, place.head); });
  float sums[kRows][kColumns] = {}, largest[kRows], total[kRows];
  std::int64_t visible[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    largest[r] = -INFINITY;
    total[r] = 0.0F;
    visible[r] = place.own + r < p.length ? p.first_visible(place.sequence, place.own + r) : 0;
  }
  // Documents begin in order, so the block's first query sees farthest back.
  const std::int64_t from = p.first_visible(place.sequence, place.first) / kWarp * kWarp;
  for (std::int64_t key = from; key < end; key += kWarp) {
    __syncthreads();
    fill_tile(tile, kWarp, key, p.length, p.dim,
              [&](std::int64_t i) { return p.key_row(begin + i, kv_head); });
    __syncthreads();
    float weight[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t query = place.own + r, position = key + lane;
      const bool seen = position >= visible[r] && position <= query && query < p.length;
      const float score = lane_dot(queries, own + r, tile, p.dim) * p.scale;
      const float masked = seen ? score : -INFINITY;
      const float now =
          larger(largest[r], warp_reduce(masked, [](float a, float b) { return larger(a, b); }));
      const bool none = now == -INFINITY;
      const float correction = none ? 1.0F : expf(largest[r] - now);
      weight[r] = none ? 0.0F : expf(masked - now);
      total[r] =
          total[r] * correction + warp_reduce(weight[r], [](float a, float b) { return a + b; });
      largest[r] = now;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) sums[r][c] *= correction;
    }
    __syncthreads();
    fill_tile(tile, kWarp, key, p.length, p.value_dim,
              [&](std::int64_t i) { return p.value_row(begin + i, kv_head); });
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kRows; ++r) add_weighted_rows(sums[r], weight[r], tile, p.value_dim);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t token = begin + place.own + r;
    if (place.own + r >= p.length) continue;
    write_row(p.out + (token * p.heads + place.head) * p.value_dim, sums[r], 1.0F / total[r],
              p.value_dim);
    if (lane == 0) p.lse[token * p.heads + place.head] = largest[r] + logf(total[r]);
  }
}

// The sum of dout * out of a query, on every lane.
template <class T>
__device__ __forceinline__ float delta_of(const AttentionProblem<T>& p, std::int64_t token,
                                          std::int64_t head) {
  const T* a = p.out_row(p.dout, token, head);
  const T* b = p.out_row(p.out, token, head);
  float sum = 0.0F;
  for (std::int64_t h = threadIdx.x % kWarp; h < p.value_dim; h += kWarp) {
    sum = fmaf(to_float(a[h]), to_float(b[h]), sum);
  }
  return warp_reduce(sum, [](float x, float y) { return x + y; });
}

// Shared memory: the block's queries and their dout, 32 keys or values.
template <int kColumns, int kRows, class T>
__global__ void attention_backward_query_kernel(AttentionProblem<T> p) {
  constexpr int kBlockRows = kWarps * kRows;
  const Place<kRows> place(p.length);
  const int stride = stride_of(p, sizeof(T)), lane = static_cast<int>(threadIdx.x) % kWarp;
  const int own = static_cast<int>(place.own - place.first);
  const Tile<T> queries{shared<T>(), stride}, douts{queries.at + kBlockRows * stride, stride};
  const Tile<T> tile{douts.at + kBlockRows * stride, stride};
  const std::int64_t begin = place.sequence * p.length;
  const std::int64_t kv_head = place.head / (p.heads / p.kv_heads);
  const std::int64_t end = std::min(place.first + kBlockRows, p.length);
  fill_tile(queries, kBlockRows, place.first, p.length, p.dim,
            [&](std::int64_t i) { return p.query_row(begin + i, place.head); });
  fill_tile(douts, kBlockRows, place.first, p.length, p.value_dim,
            [&](std::int64_t i) { return p.out_row(p.dout, begin + i, place.head); });
  float sums[kRows][kColumns] = {}, lse[kRows] = {}, delta[kRows] = {};
  std::int64_t visible[kRows] = {};
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (place.own + r >= p.length) continue;
    const std::int64_t token = begin + place.own + r;
    lse[r] = p.lse[token * p.heads + place.head];
    delta[r] = delta_of(p, token, place.head);
    visible[r] = p.first_visible(place.sequence, place.own + r);
  }
  const std::int64_t from = p.first_visible(place.sequence, place.first) / kWarp * kWarp;
  for (std::int64_t key = from; key < end; key += kWarp) {
    __syncthreads();
    fill_tile(tile, kWarp, key, p.length, p.value_dim,
              [&](std::int64_t i) { return p.value_row(begin + i, kv_head); });
    __syncthreads();
    float dweight[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) dweight[r] = lane_dot(douts, own + r, tile, p.value_dim);
    __syncthreads();
    fill_tile(tile, kWarp, key, p.length, p.dim,
              [&](std::int64_t i) { return p.key_row(begin + i, kv_head); });
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t query = place.own + r, position = key + lane;
      const bool seen = position >= visible[r] && position <= query && query < p.length;
      const float score = lane_dot(queries, own + r, tile, p.dim) * p.scale;
      const float weight = seen ? expf(score - lse[r]) : 0.0F;
      add_weighted_rows(sums[r], p.scale * weight * (dweight[r] - delta[r]), tile, p.dim);
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (place.own + r >= p.length) continue;
    const std::int64_t token = begin + place.own + r;
    write_row(p.dq + (token * p.heads + place.head) * p.dim, sums[r], 1.0F, p.dim);
  }
}

// Shared memory: the block's keys and values, 32 queries or douts, their lse and delta.
template <int kColumns, int kRows, class T>
__global__ void attention_backward_key_kernel(AttentionProblem<T> p) {
  constexpr int kBlockRows = kWarps * kRows;
  const Place<kRows> place(p.length);
  const int stride = stride_of(p, sizeof(T)), lane = static_cast<int>(threadIdx.x) % kWarp;
  const int own = static_cast<int>(place.own - place.first), warp = own / kRows;
  auto* lse = shared<float>();
  float* delta = lse + kWarp;
  const Tile<T> keys{reinterpret_cast<T*>(delta + kWarp), stride};
  const Tile<T> values{keys.at + kBlockRows * stride, stride};
  const Tile<T> tile{values.at + kBlockRows * stride, stride};
  const std::int64_t begin = place.sequence * p.length, group = p.heads / p.kv_heads;
  fill_tile(keys, kBlockRows, place.first, p.length, p.dim,
            [&](std::int64_t i) { return p.key_row(begin + i, place.head); });
  fill_tile(values, kBlockRows, place.first, p.length, p.value_dim,
            [&](std::int64_t i) { return p.value_row(begin + i, place.head); });
  float dk[kRows][kColumns] = {}, dv[kRows][kColumns] = {};
  for (std::int64_t head = place.head * group; head < (place.head + 1) * group; ++head) {
    const auto fill_douts = [&](std::int64_t first) {
      __syncthreads();
      fill_tile(tile, kWarp, first, p.length, p.value_dim,
                [&](std::int64_t i) { return p.out_row(p.dout, begin + i, head); });
      __syncthreads();
    };
    for (std::int64_t query = place.first / kWarp * kWarp; query < p.length; query += kWarp) {
      fill_douts(query);
      for (int i = warp; i < kWarp; i += kWarps) {
        const bool exists = query + i < p.length;
        const float sum = exists ? delta_of(p, begin + query + i, head) : 0.0F;
        if (lane != 0) continue;
        delta[i] = sum;
        lse[i] = exists ? p.lse[(begin + query + i) * p.heads + head] : 0.0F;
      }
      float dweight[kRows], weight[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        dweight[r] = lane_dot(values, own + r, tile, p.value_dim);
      }
      __syncthreads();
      fill_tile(tile, kWarp, query, p.length, p.dim,
                [&](std::int64_t i) { return p.query_row(begin + i, head); });
      __syncthreads();
      const std::int64_t position = query + lane;
      const std::int64_t visible =
          position < p.length ? p.first_visible(place.sequence, position) : 0;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const std::int64_t key = place.own + r;
        const bool seen = key >= visible && key <= position && position < p.length;
        const float score = lane_dot(keys, own + r, tile, p.dim) * p.scale;
        weight[r] = seen ? expf(score - lse[lane]) : 0.0F;
        add_weighted_rows(dk[r], p.scale * weight[r] * (dweight[r] - delta[lane]), tile, p.dim);
      }
      fill_douts(query);
#pragma unroll
      for (int r = 0; r < kRows; ++r) add_weighted_rows(dv[r], weight[r], tile, p.value_dim);
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (place.own + r >= p.length) continue;
    const std::int64_t row = (begin + place.own + r) * p.kv_heads + place.head;
    write_row(p.dk + row * p.dim, dk[r], 1.0F, p.dim);
    write_row(p.dv + row * p.value_dim, dv[r], 1.0F, p.value_dim);
  }
}

// Calls fn with how many columns a lane has and how many rows a warp: what registers and shared
// memory hold for the head dimension.
template <class Fn>
void visit_dim(std::int64_t dim, Fn&& fn) {
  FRUGAL_CHECK(dim <= 256, "attention: a head dimension of ", dim, "; at most 256");
  if (dim <= 32) return fn.template operator()<1, 4>();
  if (dim <= 64) return fn.template operator()<2, 2>();
  if (dim <= 128) return fn.template operator()<4, 2>();
  fn.template operator()<8, 1>();
}

// own_tiles: the block's tiles of its own rows, beside that of 32 rows.
template <int kRows, class T>
LaunchShape shape_of(const AttentionProblem<T>& p, std::int64_t tokens, std::int64_t heads,
                     int own_tiles) {
  constexpr int kBlockRows = kWarps * kRows;
  const std::int64_t sequences = p.length == 0 ? 0 : tokens / p.length;
  const auto rows = static_cast<std::size_t>(own_tiles * kBlockRows + kWarp);
  return {.blocks_x = sequences * ((p.length + kBlockRows - 1) / kBlockRows),
          .blocks_y = heads,
          .threads = kThreads,
          .shared_bytes = 2 * kWarp * sizeof(float) +
                          rows * static_cast<std::size_t>(stride_of(p, sizeof(T))) * sizeof(T)};
}

}  // namespace

void general_attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  visit_float(args.q_TNH.dtype, [&]<class T>() {
    const auto p = forward_problem_of<T>(args);
    visit_dim(p.widest(), [&]<int kColumns, int kRows>() {
      launch(stream, "attention_forward", shape_of<kRows>(p, args.q_TNH.shape[0], p.heads, 1),
             attention_forward_kernel<kColumns, kRows, T>, p);
    });
  });
}

void general_attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  visit_float(args.q_TNH.dtype, [&]<class T>() {
    const auto p = backward_problem_of<T>(args);
    const std::int64_t tokens = args.q_TNH.shape[0];
    visit_dim(p.widest(), [&]<int kColumns, int kRows>() {
      launch(stream, "attention_backward_input", shape_of<kRows>(p, tokens, p.heads, 2),
             attention_backward_query_kernel<kColumns, kRows, T>, p);
      launch(stream, "attention_backward_input", shape_of<kRows>(p, tokens, p.kv_heads, 2),
             attention_backward_key_kernel<kColumns, kRows, T>, p);
    });
  });
}

}  // namespace frugal::cu
