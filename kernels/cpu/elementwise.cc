#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/core/rng.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

namespace frugal::cpu {
namespace {

constexpr std::int64_t kBlock = 16384;

// out = rows [first, last) of parts, each out.size() long and stride apart, added along the fixed
// tree.
template <class T>
void tree(const T* parts, std::int64_t stride, std::int64_t first, std::int64_t last,
          std::vector<float>& out) {
  const auto count = static_cast<std::int64_t>(out.size());
  if (last - first == 1) {
    for (std::int64_t i = 0; i < count; ++i)
      out[static_cast<std::size_t>(i)] = static_cast<float>(parts[first * stride + i]);
    return;
  }
  std::int64_t half = 1;
  while (half * 2 < last - first) half *= 2;
  tree(parts, stride, first, first + half, out);
  std::vector<float> right(out.size());
  tree(parts, stride, first + half, last, right);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] += right[i];
}

template <class T>
void max_of_rows(const Tensor& out, const ConstTensor& parts) {
  parallel_blocks(out.numel(), kBlock, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      T best = parts.as<T>()[i];
      for (std::int64_t r = 1; r < parts.shape[0]; ++r) {
        const T value = parts.as<T>()[r * out.numel() + i];
        if (static_cast<float>(value) > static_cast<float>(best)) best = value;
      }
      out.as<T>()[i] = best;
    }
  });
}

}  // namespace

void add(Stream& stream, Tensor out, ConstTensor a, ConstTensor b) {
  stream.run_host([=] {
    visit_float(out.dtype, [&]<class T>() {
      parallel_blocks(out.numel(), kBlock, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          out.as<T>()[i] = T(static_cast<float>(a.as<T>()[i]) + static_cast<float>(b.as<T>()[i]));
        }
      });
    });
  });
}

void cast(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] {
    if (out.dtype == x.dtype) {
      std::memmove(out.data, x.data, out.bytes());
      return;
    }
    visit_float(out.dtype, [&]<class To>() {
      visit_float(x.dtype, [&]<class From>() {
        parallel_blocks(out.numel(), kBlock, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i)
            out.as<To>()[i] = To(static_cast<float>(x.as<From>()[i]));
        });
      });
    });
  });
}

void fill(Stream& stream, Tensor out, float value) {
  stream.run_host([=] {
    if (out.dtype == DType::kI32) {
      std::fill_n(out.as<std::int32_t>(), out.numel(),
                  static_cast<std::int32_t>(std::lround(value)));
    } else if (out.dtype == DType::kU8) {
      std::fill_n(out.as<std::uint8_t>(), out.numel(),
                  static_cast<std::uint8_t>(std::lround(value)));
    } else {
      visit_float(out.dtype, [&]<class T>() {
        parallel_blocks(out.numel(), kBlock, [&](std::int64_t begin, std::int64_t end) {
          std::fill(out.as<T>() + begin, out.as<T>() + end, T(value));
        });
      });
    }
  });
}

void normal_fill(Stream& stream, const NormalFillArgs& args) {
  stream.run_host([=] {
    const std::int64_t columns = args.out_RC.shape[1];
    visit_float(args.out_RC.dtype, [&]<class T>() {
      parallel_for(args.out_RC.shape[0], [&](std::int64_t r) {
        for (std::int64_t c = 0; c < columns; ++c) {
          const std::int64_t index =
              (args.row_begin + r) * args.global_columns + args.column_begin + c;
          args.out_RC.as<T>()[r * columns + c] =
              T(args.mean + args.stddev * normal_at(args.key, static_cast<std::uint64_t>(index)));
        }
      });
    });
  });
}

void tree_sum(Stream& stream, Tensor out, ConstTensor parts) {
  stream.run_host([=] {
    visit_float(out.dtype, [&]<class T>() {
      parallel_blocks(out.numel(), kBlock, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> sums(static_cast<std::size_t>(end - begin));
        tree(parts.as<T>() + begin, out.numel(), 0, parts.shape[0], sums);
        for (std::int64_t i = begin; i < end; ++i)
          out.as<T>()[i] = T(sums[static_cast<std::size_t>(i - begin)]);
      });
    });
  });
}

void max_rows(Stream& stream, Tensor out, ConstTensor parts) {
  stream.run_host([=] { visit_float(out.dtype, [&]<class T>() { max_of_rows<T>(out, parts); }); });
}

void sum_accumulate(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] {
    double sum = 0.0;
    for (std::int64_t i = 0; i < x.numel(); ++i) sum += static_cast<double>(x.as<float>()[i]);
    out.as<float>()[0] += static_cast<float>(sum);
  });
}

// A column belongs to one thread, which adds in token order.
void bias_backward_weight(Stream& stream, Tensor db, ConstTensor dy) {
  stream.run_host([=] {
    const std::int64_t columns = dy.shape[1];
    visit_float(dy.dtype, [&]<class T>() {
      parallel_blocks(columns, 64, [&](std::int64_t first, std::int64_t last) {
        std::vector<float> sums(static_cast<std::size_t>(last - first), 0.0F);
        for (std::int64_t t = 0; t < dy.shape[0]; ++t) {
          for (std::int64_t n = first; n < last; ++n) {
            sums[static_cast<std::size_t>(n - first)] +=
                static_cast<float>(dy.as<T>()[t * columns + n]);
          }
        }
        for (std::int64_t n = first; n < last; ++n)
          db.as<float>()[n] += sums[static_cast<std::size_t>(n - first)];
      });
    });
  });
}

}  // namespace frugal::cpu
