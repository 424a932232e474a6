#include "kernels/ops/embedding.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

// to += from, in f32, rounded to the dtype of to.
template <class To, class From>
void add_row(To* to, const From* from, std::int64_t count) {
  for_vectors(0, count, [=](std::int64_t i, auto lanes) {
    store(hn::Add(load(to + i, lanes), load(from + i, lanes)), to + i, lanes);
  });
}

void look_up(const EmbeddingForwardArgs& args) {
  const std::int64_t width = args.out_TD.shape[1];
  visit_float(args.out_TD.dtype, [&]<class T>() {
    const auto bytes = static_cast<std::size_t>(width) * sizeof(T);
    parallel_for(args.out_TD.shape[0], width, [&](std::int64_t t) {
      const std::int64_t row = args.ids_T.as<std::int32_t>()[t] - args.row_begin;
      const bool here = row >= 0 && row < args.table_VD.shape[0];
      const T* from = here ? args.table_VD.as<T>() + row * width : nullptr;
      T* to = args.out_TD.as<T>() + t * width;
      if (here && args.accumulate) {
        add_row(to, from, width);
      } else if (here) {
        std::memcpy(to, from, bytes);
      } else if (!args.accumulate) {
        std::fill_n(to, width, T(0.0F));
      }
    });
  });
}

// The tokens of one table row, in token order.
struct Run {
  std::int64_t row;
  std::size_t begin, end;  // in tokens
};

struct TokensByRow {
  std::vector<std::int64_t> tokens;
  std::vector<Run> runs;
};

// Tokens whose id is not in this part are left out.
inline TokensByRow group_by_row(const ConstTensor& ids_T, std::int64_t row_begin,
                                std::int64_t rows) {
  std::vector<std::pair<std::int64_t, std::int64_t>> pairs;  // row, token
  pairs.reserve(static_cast<std::size_t>(ids_T.numel()));
  for (std::int64_t t = 0; t < ids_T.numel(); ++t) {
    const std::int64_t row = ids_T.as<std::int32_t>()[t] - row_begin;
    if (row >= 0 && row < rows) pairs.emplace_back(row, t);
  }
  std::sort(pairs.begin(), pairs.end());
  TokensByRow out;
  for (const auto& [row, token] : pairs) {
    if (out.runs.empty() || out.runs.back().row != row) {
      out.runs.push_back({row, out.tokens.size(), 0});
    }
    out.tokens.push_back(token);
    out.runs.back().end = out.tokens.size();
  }
  return out;
}

// A strip of one row belongs to one thread, which adds in token order. Strips come first in the
// order of items, so that a frequent token's row is shared among threads.
void add_to_rows(const Tensor& dtable_VD, const ConstTensor& dy_TD, const ConstTensor& ids_T,
                 std::int64_t row_begin) {
  constexpr std::int64_t kStrip = 1024;
  const std::int64_t width = dy_TD.shape[1];
  const TokensByRow grouped = group_by_row(ids_T, row_begin, dtable_VD.shape[0]);
  const auto runs = static_cast<std::int64_t>(grouped.runs.size());
  visit_float(dy_TD.dtype, [&]<class T>() {
    const std::int64_t strips = (width + kStrip - 1) / kStrip * runs;
    const std::int64_t cost = strips == 0 ? 0 : dy_TD.numel() / strips;
    parallel_for(strips, cost, [&](std::int64_t item) {
      const std::int64_t column = item / runs * kStrip;
      const Run& run = grouped.runs[static_cast<std::size_t>(item % runs)];
      float* to = dtable_VD.as<float>() + run.row * width + column;
      for (std::size_t i = run.begin; i < run.end; ++i) {
        const T* from = dy_TD.as<T>() + grouped.tokens[i] * width + column;
        add_row(to, from, std::min(kStrip, width - column));
      }
    });
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(look_up);
HWY_EXPORT(add_to_rows);

void embedding_forward(Stream& stream, const EmbeddingForwardArgs& args) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(look_up)(args); });
}

void embedding_backward_weight(Stream& stream, Tensor dtable, ConstTensor dy, ConstTensor ids,
                               std::int64_t row_begin) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(add_to_rows)(dtable, dy, ids, row_begin); });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
