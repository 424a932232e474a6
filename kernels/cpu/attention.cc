// Tiled attention, source as in the op's header: tiles of queries against tiles of keys, with a
// running maximum and sum; nothing of size S x S exists. Work items are (sequence, query head)
// forward and (sequence, key/value head) backward, so what an item writes belongs to one thread and
// its bits do not depend on their number. All arithmetic is in float32.
#include "kernels/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/threads.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/attention_tiles_inl.h"
#include "kernels/cpu/exp_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

// One tile of queries [begin, end) of a sequence; positions count from the sequence's first token.
struct QueryTile {
  std::int64_t sequence, begin, end;
  const std::int32_t* first_visible;  // per position of the sequence, or null
  std::int64_t rows() const { return end - begin; }
  std::int64_t first(std::int64_t position) const {
    return first_visible != nullptr ? first_visible[position] : 0;
  }
  // The first tile of keys that any of its queries sees.
  std::int64_t first_key_tile() const {
    std::int64_t key = begin;
    for (std::int64_t t = begin; t < end; ++t) key = std::min(key, first(t));
    return key / kTile * kTile;
  }
};

QueryTile query_tile(const ConstTensor& document_start, std::int64_t sequence, std::int64_t begin,
                     std::int64_t length) {
  return {sequence, begin, std::min(begin + kTile, length),
          given(document_start) ? document_start.as<std::int32_t>() + sequence : nullptr};
}

// The visible keys of one query in a tile of keys: columns [from, to).
struct Visible {
  std::int64_t from, to;
  Visible(const QueryTile& queries, std::int64_t position, std::int64_t key_begin)
      : from(std::max<std::int64_t>(0, queries.first(position) - key_begin)),
        to(std::min(kTile, position + 1 - key_begin)) {}
  bool none() const { return from >= to; }
  // Which of the columns that begin at i.
  hn::Mask<F32> lanes(std::int64_t i) const {
    const F32 d;
    const Vec column = hn::Iota(d, static_cast<float>(i));
    return hn::And(hn::Ge(column, hn::Set(d, static_cast<float>(from))),
                   hn::Lt(column, hn::Set(d, static_cast<float>(to))));
  }
};

// A thread's float32 copies, kept from call to call. Forward and backward share them, for those of
// a whole sequence are large; plan_buffers below tells how large.
struct AttentionBuffers {
  std::vector<float> rows;                      // v forward, k backward
  std::vector<float> k_tiles, v_tiles, dk, dv;  // like rows of the sequence, as below of a tile
  std::vector<float> packed, q, out, dout, dq;
  float largest[kTile], total[kTile], lse[kTile], delta[kTile];
  HWY_ALIGN float p[kTile * kTile], ds[kTile * kTile];
};

AttentionBuffers& thread_buffers() {
  thread_local AttentionBuffers buffers;
  return buffers;
}

// One head of a sequence as tiles of its transpose, by way of one tile's rows.
template <class T>
void load_tiles(const ConstTensor& t_THH, std::int64_t head, std::int64_t sequence,
                std::int64_t length, std::int64_t width, std::vector<float>& tiles) {
  float* to = cleared(tiles, round_up(length, kTile) * width);
  for (std::int64_t begin = 0; begin < length; begin += kTile) {
    const std::int64_t count = std::min(kTile, length - begin);
    float* rows = cleared(thread_buffers().packed, kTile * width);
    load_rows<T>(t_THH, head, sequence + begin, sequence + begin + count, width, rows);
    transpose_tile(rows, count, width, to + begin * width);
  }
}

// Elements of a row of a buffer: a head's, rounded up to whole vectors.
struct Widths {
  std::int64_t key, value;  // of q and k; of v and out
  Widths(const ConstTensor& q_TNH, const ConstTensor& v_TMH)
      : key(whole_vectors(q_TNH.shape[2])), value(whole_vectors(v_TMH.shape[2])) {}
  static std::int64_t whole_vectors(std::int64_t size) {
    return round_up(size, static_cast<std::int64_t>(hn::Lanes(F32())));
  }
};

// What one query has summed over the keys so far.
struct RunningSum {
  float& largest;
  float& total;
  float* out;
  std::int64_t width;
};

// Turns the scores of one query with a tile of keys into weights; rescales what it summed so far.
void weigh_keys(float* row, const Visible& visible, float scale, const RunningSum& so_far) {
  const F32 d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  if (visible.none()) {
    std::fill_n(row, kTile, 0.0F);
    return;
  }
  const Vec hidden = hn::Neg(hn::Inf(d)), factor = hn::Set(d, scale);
  const float tile_max = max_vectors(kTile, [&](std::int64_t i, auto) {
    const Vec score = hn::Mul(hn::LoadU(d, row + i), factor);
    const Vec masked = hn::IfThenElse(visible.lanes(i), score, hidden);
    hn::StoreU(masked, d, row + i);
    return masked;
  });
  const float new_max = std::isnan(tile_max) ? tile_max : std::max(so_far.largest, tile_max);
  const float shrink = std::exp(so_far.largest - new_max);
  const Vec centre = hn::Set(d, new_max);
  Vec sum = hn::Zero(d);
  for (std::int64_t i = 0; i < kTile; i += step) {
    const Vec weight = exp_of(hn::Sub(hn::LoadU(d, row + i), centre));
    sum = hn::Add(sum, weight);
    hn::StoreU(weight, d, row + i);
  }
  so_far.total = so_far.total * shrink + hn::GetLane(hn::SumOfLanes(d, sum));
  so_far.largest = new_max;
  for (std::int64_t h = 0; h < so_far.width; h += step)
    hn::StoreU(hn::Mul(hn::LoadU(d, so_far.out + h), hn::Set(d, shrink)), d, so_far.out + h);
}

template <class T>
void forward_tile(const AttentionForwardArgs& args, const QueryTile& queries, std::int64_t head,
                  const Widths& width, AttentionBuffers& buffers) {
  const F32 d;
  float* q = cleared(buffers.q, kTile * width.key);
  float* out = cleared(buffers.out, kTile * width.value);
  load_rows<T>(args.q_TNH, head, queries.sequence + queries.begin, queries.sequence + queries.end,
               width.key, q);
  std::fill_n(buffers.largest, kTile, -std::numeric_limits<float>::infinity());
  std::fill_n(buffers.total, kTile, 0.0F);
  for (std::int64_t key = queries.first_key_tile(); key < queries.end; key += kTile) {
    std::fill_n(buffers.p, kTile * kTile, 0.0F);
    multiply_add({q, width.key, 1}, {buffers.k_tiles.data() + key * width.key, kTile},
                 queries.rows(), args.q_TNH.shape[2], buffers.p);
    for (std::int64_t r = 0; r < queries.rows(); ++r) {
      weigh_keys(buffers.p + r * kTile, {queries, queries.begin + r, key}, args.scale,
                 {buffers.largest[r], buffers.total[r], out + r * width.value, width.value});
    }
    multiply_add({buffers.p, kTile, 1}, {buffers.rows.data() + key * width.value, width.value},
                 queries.rows(), std::min(kTile, queries.end - key), out);
  }
  for (std::int64_t r = 0; r < queries.rows(); ++r) {
    const Vec total = hn::Set(d, buffers.total[r]);
    float* row = out + r * width.value;
    for_vectors(0, width.value, [&](std::int64_t h, auto lanes) {
      store(hn::Div(load(row + h, lanes), total), row + h, lanes);
    });
    args.lse_TN.as<float>()[(queries.sequence + queries.begin + r) * args.q_TNH.shape[1] + head] =
        buffers.largest[r] + std::log(buffers.total[r]);
  }
  store_rows<T>(out, width.value, args.out_TNH, head, queries.sequence + queries.begin,
                queries.sequence + queries.end);
}

template <class T>
void forward_item(const AttentionForwardArgs& args, std::int64_t sequence, std::int64_t head) {
  AttentionBuffers& buffers = thread_buffers();
  const std::int64_t length = args.sequence_length;
  const Widths width(args.q_TNH, args.v_TMH);
  const std::int64_t kv_head = head / (args.q_TNH.shape[1] / args.k_TMH.shape[1]);
  load_rows<T>(args.v_TMH, kv_head, sequence, sequence + length, width.value,
               cleared(buffers.rows, round_up(length, kTile) * width.value));
  load_tiles<T>(args.k_TMH, kv_head, sequence, length, width.key, buffers.k_tiles);
  for (std::int64_t begin = 0; begin < length; begin += kTile) {
    forward_tile<T>(args, query_tile(args.document_start_T, sequence, begin, length), head, width,
                    buffers);
  }
}

// In: p holds q k^T, ds holds dout v^T. Out: the probabilities and the gradient of q k^T.
void differentiate_row(float* p, float* ds, const Visible& visible, float scale, float lse,
                       float delta) {
  const F32 d;
  for_vectors(0, kTile, [&](std::int64_t i, auto lanes) {
    const auto mask = visible.lanes(i);
    const Vec exponent = hn::MulSub(load(p + i, lanes), hn::Set(d, scale), hn::Set(d, lse));
    const Vec weight = hn::IfThenElseZero(mask, exp_of(exponent));
    const Vec slope = hn::Sub(load(ds + i, lanes), hn::Set(d, delta));
    store(weight, p + i, lanes);
    store(hn::IfThenElseZero(mask, hn::Mul(hn::Mul(weight, slope), hn::Set(d, scale))), ds + i,
          lanes);
  });
}

// Everything of one tile of queries with one tile of keys.
void backward_tiles(const AttentionBackwardArgs& args, const QueryTile& queries, std::int64_t key,
                    const Widths& width, AttentionBuffers& b) {
  const std::int64_t keys = std::min(kTile, queries.end - key);
  std::fill_n(b.p, kTile * kTile, 0.0F);
  std::fill_n(b.ds, kTile * kTile, 0.0F);
  multiply_add({b.q.data(), width.key, 1}, {b.k_tiles.data() + key * width.key, kTile},
               queries.rows(), args.q_TNH.shape[2], b.p);
  multiply_add({b.dout.data(), width.value, 1}, {b.v_tiles.data() + key * width.value, kTile},
               queries.rows(), args.v_TMH.shape[2], b.ds);
  for (std::int64_t r = 0; r < queries.rows(); ++r) {
    differentiate_row(b.p + r * kTile, b.ds + r * kTile, {queries, queries.begin + r, key},
                      args.scale, b.lse[r], b.delta[r]);
  }
  multiply_add({b.p, 1, kTile}, {b.dout.data(), width.value}, keys, queries.rows(),
               b.dv.data() + key * width.value);
  multiply_add({b.ds, 1, kTile}, {b.q.data(), width.key}, keys, queries.rows(),
               b.dk.data() + key * width.key);
  multiply_add({b.ds, kTile, 1}, {b.rows.data() + key * width.key, width.key}, queries.rows(), keys,
               b.dq.data());
}

template <class T>
void backward_query_tile(const AttentionBackwardArgs& args, const QueryTile& queries,
                         std::int64_t head, const Widths& width, AttentionBuffers& b) {
  const std::int64_t begin = queries.sequence + queries.begin;
  const std::int64_t end = queries.sequence + queries.end;
  load_rows<T>(args.q_TNH, head, begin, end, width.key, cleared(b.q, kTile * width.key));
  load_rows<T>(args.dout_TNH, head, begin, end, width.value, cleared(b.dout, kTile * width.value));
  cleared(b.dq, kTile * width.key);
  for (std::int64_t t = begin; t < end; ++t) {
    const T* out = head_row<T>(args.out_TNH, t, head);
    const float* dout = b.dout.data() + (t - begin) * width.value;
    b.delta[t - begin] = sum_vectors(args.v_TMH.shape[2], [&](std::int64_t i, auto lanes) {
      return hn::Mul(load(out + i, lanes), load(dout + i, lanes));
    });
    b.lse[t - begin] = args.lse_TN.as<float>()[t * args.q_TNH.shape[1] + head];
  }
  for (std::int64_t key = queries.first_key_tile(); key < queries.end; key += kTile)
    backward_tiles(args, queries, key, width, b);
  store_rows<T>(b.dq.data(), width.key, args.dq_TNH, head, begin, end);
}

template <class T>
void backward_item(const AttentionBackwardArgs& args, std::int64_t sequence, std::int64_t kv_head) {
  AttentionBuffers& b = thread_buffers();
  const std::int64_t length = args.sequence_length;
  const Widths width(args.q_TNH, args.v_TMH);
  const std::int64_t group = args.q_TNH.shape[1] / args.k_TMH.shape[1];
  const std::int64_t padded = round_up(length, kTile);
  load_rows<T>(args.k_TMH, kv_head, sequence, sequence + length, width.key,
               cleared(b.rows, padded * width.key));
  load_tiles<T>(args.k_TMH, kv_head, sequence, length, width.key, b.k_tiles);
  load_tiles<T>(args.v_TMH, kv_head, sequence, length, width.value, b.v_tiles);
  cleared(b.dk, padded * width.key);
  cleared(b.dv, padded * width.value);
  for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (std::int64_t begin = 0; begin < length; begin += kTile) {
      backward_query_tile<T>(args, query_tile(args.document_start_T, sequence, begin, length), head,
                             width, b);
    }
  }
  store_rows<T>(b.dk.data(), width.key, args.dk_TMH, kv_head, sequence, sequence + length);
  store_rows<T>(b.dv.data(), width.value, args.dv_TMH, kv_head, sequence, sequence + length);
}

void attend(const AttentionForwardArgs& args) {
  const std::int64_t heads = args.q_TNH.shape[1], sizes = args.q_TNH.shape[2] + args.v_TMH.shape[2];
  const std::int64_t cost = args.sequence_length * args.sequence_length * sizes / 16;
  visit_float(args.q_TNH.dtype, [&]<class T>() {
    parallel_for(args.q_TNH.shape[0] / args.sequence_length * heads, cost, [&](std::int64_t item) {
      forward_item<T>(args, item / heads * args.sequence_length, item % heads);
    });
  });
}

void attend_gradient(const AttentionBackwardArgs& args) {
  const std::int64_t heads = args.k_TMH.shape[1], sizes = args.q_TNH.shape[2] + args.v_TMH.shape[2];
  const std::int64_t cost = args.sequence_length * args.sequence_length * sizes / 8;
  visit_float(args.q_TNH.dtype, [&]<class T>() {
    parallel_for(args.q_TNH.shape[0] / args.sequence_length * heads, cost, [&](std::int64_t item) {
      backward_item<T>(args, item / heads * args.sequence_length, item % heads);
    });
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(attend);
HWY_EXPORT(attend_gradient);

namespace {

// The buffers of a sequence on every thread; those of a tile are small.
template <class Args>
void plan_buffers(Stream& stream, const Args& args) {
  const std::int64_t length = args.sequence_length;
  const std::int64_t items = args.q_TNH.shape[0] / length * args.q_TNH.shape[1];
  const std::int64_t threads = std::min<std::int64_t>(items, compute_threads());
  const std::int64_t keys = args.q_TNH.shape[2], values = args.v_TMH.shape[2];
  const std::int64_t row = 2 * (keys + values) + std::max(keys, values);
  stream.plan_memory(static_cast<std::size_t>(threads * length * row) * sizeof(float));
}

}  // namespace

void attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  plan_buffers(stream, args);
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(attend)(args); });
}

void attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  plan_buffers(stream, args);
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(attend_gradient)(args); });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
