// Tiled attention: a block of query rows against blocks of keys, with a running maximum and sum;
// nothing of size S x S exists. Work items are (sequence, head) forward and (sequence, key/value
// head) backward, so dk and dv of an item belong to one thread.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

namespace frugal::cpu {
namespace {

constexpr std::int64_t kTile = 32;  // rows of a tile

// Rows [begin, end) of one head as floats, row-major [rows, size].
template <class T>
void load_rows(const ConstTensor& t, std::int64_t head, std::int64_t begin, std::int64_t end,
               std::vector<float>& out) {
  const std::int64_t heads = t.shape[1];
  const std::int64_t size = t.shape[2];
  out.resize(static_cast<std::size_t>((end - begin) * size));
  for (std::int64_t r = begin; r < end; ++r) {
    const T* from = t.as<T>() + (r * heads + head) * size;
    float* to = out.data() + (r - begin) * size;
    for (std::int64_t h = 0; h < size; ++h) to[h] = static_cast<float>(from[h]);
  }
}

template <class T>
void store_rows(const Tensor& t, std::int64_t head, std::int64_t begin,
                const std::vector<float>& rows) {
  const std::int64_t heads = t.shape[1];
  const std::int64_t size = t.shape[2];
  const std::int64_t count = static_cast<std::int64_t>(rows.size()) / size;
  for (std::int64_t r = 0; r < count; ++r) {
    T* to = t.as<T>() + ((begin + r) * heads + head) * size;
    for (std::int64_t h = 0; h < size; ++h) to[h] = T(rows[static_cast<std::size_t>(r * size + h)]);
  }
}

float dot(const float* a, const float* b, std::int64_t size) {
  float lanes[8] = {};
  std::int64_t h = 0;
  for (; h + 8 <= size; h += 8) {
    for (std::int64_t l = 0; l < 8; ++l) lanes[l] += a[h + l] * b[h + l];
  }
  for (; h < size; ++h) lanes[h % 8] += a[h] * b[h];
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

void add_scaled(float* to, const float* from, float factor, std::int64_t size) {
  for (std::int64_t h = 0; h < size; ++h) to[h] += factor * from[h];
}

// First visible key of a token, as a token index.
std::int64_t first_key(const ConstTensor& document_start, std::int64_t token,
                       std::int64_t sequence_begin) {
  return document_start.data != nullptr ? sequence_begin + document_start.as<std::int32_t>()[token]
                                        : sequence_begin;
}

// One tile of queries [begin, end) of one head against all its keys.
template <class T>
void forward_tile(const AttentionForwardArgs& args, std::int64_t head, std::int64_t begin,
                  std::int64_t end) {
  const std::int64_t size = args.q_TNH.shape[2];
  const std::int64_t heads = args.q_TNH.shape[1];
  const std::int64_t kv_head = head / (heads / args.k_TMH.shape[1]);
  const std::int64_t sequence_begin = begin / args.sequence_length * args.sequence_length;
  const auto rows = static_cast<std::size_t>(end - begin);
  std::vector<float> q, k, v, out(rows * static_cast<std::size_t>(size), 0.0F);
  std::vector<float> largest(rows, -std::numeric_limits<float>::infinity()), total(rows, 0.0F);
  load_rows<T>(args.q_TNH, head, begin, end, q);
  for (std::int64_t key_begin = sequence_begin; key_begin < end; key_begin += kTile) {
    const std::int64_t key_end = std::min(end, key_begin + kTile);
    load_rows<T>(args.k_TMH, kv_head, key_begin, key_end, k);
    load_rows<T>(args.v_TMH, kv_head, key_begin, key_end, v);
    for (std::int64_t t = begin; t < end; ++t) {
      const auto r = static_cast<std::size_t>(t - begin);
      const std::int64_t from =
          std::max(key_begin, first_key(args.document_start_T, t, sequence_begin));
      const std::int64_t to = std::min(key_end, t + 1);
      if (from >= to) continue;
      float scores[kTile];
      float tile_max = largest[r];
      for (std::int64_t j = from; j < to; ++j) {
        scores[j - key_begin] = args.scale * dot(q.data() + (t - begin) * size,
                                                 k.data() + (j - key_begin) * size, size);
        tile_max = std::max(tile_max, scores[j - key_begin]);
      }
      float* row = out.data() + (t - begin) * size;
      const float shrink = std::exp(largest[r] - tile_max);
      largest[r] = tile_max;
      total[r] *= shrink;
      for (std::int64_t h = 0; h < size; ++h) row[h] *= shrink;
      for (std::int64_t j = from; j < to; ++j) {
        const float weight = std::exp(scores[j - key_begin] - tile_max);
        total[r] += weight;
        add_scaled(row, v.data() + (j - key_begin) * size, weight, size);
      }
    }
  }
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::int64_t h = 0; h < size; ++h)
      out[r * static_cast<std::size_t>(size) + static_cast<std::size_t>(h)] /= total[r];
    args.lse_TN.as<float>()[(begin + static_cast<std::int64_t>(r)) * heads + head] =
        largest[r] + std::log(total[r]);
  }
  store_rows<T>(args.out_TNH, head, begin, out);
}

// Everything of one query head that its (sequence, key/value head) item needs, as floats.
struct BackwardRows {
  std::vector<float> q, dout, dq, k, v, dk, dv, delta;
};

template <class T>
void load_query_head(const AttentionBackwardArgs& args, std::int64_t head, std::int64_t begin,
                     BackwardRows& rows) {
  const std::int64_t size = args.q_TNH.shape[2];
  const std::int64_t end = begin + args.sequence_length;
  std::vector<float> out;
  load_rows<T>(args.q_TNH, head, begin, end, rows.q);
  load_rows<T>(args.dout_TNH, head, begin, end, rows.dout);
  load_rows<T>(args.out_TNH, head, begin, end, out);
  rows.dq.assign(rows.q.size(), 0.0F);
  rows.delta.resize(static_cast<std::size_t>(args.sequence_length));
  for (std::int64_t t = 0; t < args.sequence_length; ++t) {
    rows.delta[static_cast<std::size_t>(t)] =
        dot(rows.dout.data() + t * size, out.data() + t * size, size);
  }
}

void backward_query(const AttentionBackwardArgs& args, std::int64_t head, std::int64_t begin,
                    std::int64_t t, BackwardRows& rows) {
  const std::int64_t size = args.q_TNH.shape[2];
  const float lse = args.lse_TN.as<float>()[(begin + t) * args.q_TNH.shape[1] + head];
  const float* q = rows.q.data() + t * size;
  const float* dout = rows.dout.data() + t * size;
  for (std::int64_t j = first_key(args.document_start_T, begin + t, 0); j <= t; ++j) {
    const float p = std::exp(args.scale * dot(q, rows.k.data() + j * size, size) - lse);
    const float dp = dot(dout, rows.v.data() + j * size, size);
    const float ds = args.scale * p * (dp - rows.delta[static_cast<std::size_t>(t)]);
    add_scaled(rows.dv.data() + j * size, dout, p, size);
    add_scaled(rows.dk.data() + j * size, q, ds, size);
    add_scaled(rows.dq.data() + t * size, rows.k.data() + j * size, ds, size);
  }
}

template <class T>
void backward_item(const AttentionBackwardArgs& args, std::int64_t kv_head, std::int64_t begin) {
  const std::int64_t group = args.q_TNH.shape[1] / args.k_TMH.shape[1];
  BackwardRows rows;
  load_rows<T>(args.k_TMH, kv_head, begin, begin + args.sequence_length, rows.k);
  load_rows<T>(args.v_TMH, kv_head, begin, begin + args.sequence_length, rows.v);
  rows.dk.assign(rows.k.size(), 0.0F);
  rows.dv.assign(rows.v.size(), 0.0F);
  for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    load_query_head<T>(args, head, begin, rows);
    for (std::int64_t t = 0; t < args.sequence_length; ++t)
      backward_query(args, head, begin, t, rows);
    store_rows<T>(args.dq_TNH, head, begin, rows.dq);
  }
  store_rows<T>(args.dk_TMH, kv_head, begin, rows.dk);
  store_rows<T>(args.dv_TMH, kv_head, begin, rows.dv);
}

}  // namespace

void attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t heads = args.q_TNH.shape[1];
    const std::int64_t tiles = (args.sequence_length + kTile - 1) / kTile;
    const std::int64_t sequences = args.q_TNH.shape[0] / args.sequence_length;
    visit_float(args.q_TNH.dtype, [&]<class T>() {
      parallel_for(sequences * heads * tiles, [&](std::int64_t item) {
        const std::int64_t sequence_begin = item / (heads * tiles) * args.sequence_length;
        const std::int64_t begin = sequence_begin + item % tiles * kTile;
        const std::int64_t end = std::min(begin + kTile, sequence_begin + args.sequence_length);
        forward_tile<T>(args, item / tiles % heads, begin, end);
      });
    });
  });
}

void attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t kv_heads = args.k_TMH.shape[1];
    const std::int64_t sequences = args.q_TNH.shape[0] / args.sequence_length;
    visit_float(args.q_TNH.dtype, [&]<class T>() {
      parallel_for(sequences * kv_heads, [&](std::int64_t item) {
        backward_item<T>(args, item % kv_heads, item / kv_heads * args.sequence_length);
      });
    });
  });
}

}  // namespace frugal::cpu
