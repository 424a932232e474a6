#include "kernels/ops/elementwise.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/core/rng.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/double_sum_inl.h"
#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

void add_elements(const Tensor& out, const ConstTensor& a, const ConstTensor& b) {
  visit_float(out.dtype, [&]<class T>() {
    parallel_blocks(out.numel(), kElementBlock, [&](std::int64_t begin, std::int64_t end) {
      for_vectors(begin, end, [&](std::int64_t i, auto lanes) {
        store(hn::Add(load(a.as<T>() + i, lanes), load(b.as<T>() + i, lanes)), out.as<T>() + i,
              lanes);
      });
    });
  });
}

void scale_elements(const Tensor& out, const ConstTensor& x, float factor) {
  visit_float(out.dtype, [&]<class T>() {
    parallel_blocks(out.numel(), kElementBlock, [&](std::int64_t begin, std::int64_t end) {
      for_vectors(begin, end, [&](std::int64_t i, auto lanes) {
        store(hn::Mul(load(x.as<T>() + i, lanes), hn::Set(F32(), factor)), out.as<T>() + i, lanes);
      });
    });
  });
}

// REQUIRES: the dtypes differ.
void convert(const Tensor& out, const ConstTensor& x) {
  visit_floats(out.dtype, x.dtype, [&]<class To, class From>() {
    if constexpr (!std::is_same_v<To, From>) {
      To* to = out.as<To>();
      const From* from = x.as<From>();
      parallel_blocks(out.numel(), kElementBlock, [&](std::int64_t begin, std::int64_t end) {
        for_vectors(begin, end, [&](std::int64_t i, auto lanes) {
          store(load(from + i, lanes), to + i, lanes);
        });
      });
    }
  });
}

// Rows are added as in a binary counter: when 2^k rows are complete, they are one partial sum, and
// what remains at the end is added from the shortest to the longest. That is the fixed tree.
template <class T>
void tree_sum_piece(T* out, const T* parts, std::int64_t stride, std::int64_t rows,
                    std::int64_t count) {
  constexpr int kLevels = 32;
  constexpr std::int64_t kPiece = 512;  // floats: the partial sums of 8 rows stay in the L1 cache
  HWY_ALIGN float sums[kLevels][kPiece];
  for (std::int64_t begin = 0; begin < count; begin += kPiece) {
    const std::int64_t size = std::min(kPiece, count - begin);
    int depth = 0;
    const auto merge = [&] {
      --depth;
      for_vectors(0, size, [&](std::int64_t i, auto lanes) {
        float* to = sums[depth - 1] + i;
        store(hn::Add(load(to, lanes), load(sums[depth] + i, lanes)), to, lanes);
      });
    };
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* row = parts + r * stride + begin;
      float* to = sums[depth++];
      for_vectors(0, size,
                  [&](std::int64_t i, auto lanes) { store(load(row + i, lanes), to + i, lanes); });
      for (std::int64_t done = r + 1; done % 2 == 0; done /= 2) merge();
    }
    while (depth > 1) merge();  // NOLINT(bugprone-infinite-loop): merge() lowers depth
    for_vectors(0, size, [&](std::int64_t i, auto lanes) {
      store(load(sums[0] + i, lanes), out + begin + i, lanes);
    });
  }
}

void sum_rows(const Tensor& out, const ConstTensor& parts) {
  visit_float(out.dtype, [&]<class T>() {
    parallel_blocks(out.numel(), kElementBlock, [&](std::int64_t begin, std::int64_t end) {
      tree_sum_piece(out.as<T>() + begin, parts.as<T>() + begin, out.numel(), parts.shape[0],
                     end - begin);
    });
  });
}

void largest_of_rows(const Tensor& out, const ConstTensor& parts) {
  visit_float(out.dtype, [&]<class T>() {
    parallel_blocks(out.numel(), kElementBlock, [&](std::int64_t begin, std::int64_t end) {
      for_vectors(begin, end, [&](std::int64_t i, auto lanes) {
        Vec best = load(parts.as<T>() + i, lanes);
        for (std::int64_t r = 1; r < parts.shape[0]; ++r) {
          const Vec v = load(parts.as<T>() + r * out.numel() + i, lanes);
          best = hn::IfThenElse(hn::Or(hn::Gt(v, best), hn::IsNaN(v)), v, best);
        }
        store(best, out.as<T>() + i, lanes);
      });
    });
  });
}

void add_total(const Tensor& out_1, const ConstTensor& x_N) {
  const double sum = sum_doubles(x_N.as<float>(), x_N.numel(), [](Vec64 x) { return x; });
  out_1.as<float>()[0] += static_cast<float>(sum);
}

void add_columns(const Tensor& db_N, const ConstTensor& dy_TN) {
  const std::int64_t width = dy_TN.shape[1];
  visit_float(dy_TN.dtype, [&]<class T>() {
    const auto sums = sum_over_tokens(
        dy_TN.shape[0], width, [&](std::int64_t begin, std::int64_t end, float* block) {
          for (std::int64_t t = begin; t < end; ++t) {
            const T* dy = dy_TN.as<T>() + t * width;
            for_vectors(0, width, [&](std::int64_t i, auto lanes) {
              store(hn::Add(load(block + i, lanes), load(dy + i, lanes)), block + i, lanes);
            });
          }
        });
    for (std::int64_t i = 0; i < width; ++i) {
      db_N.as<float>()[i] += sums[static_cast<std::size_t>(i)];
    }
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {
namespace {

HWY_EXPORT(add_elements);
HWY_EXPORT(scale_elements);
HWY_EXPORT(convert);
HWY_EXPORT(sum_rows);
HWY_EXPORT(largest_of_rows);
HWY_EXPORT(add_total);
HWY_EXPORT(add_columns);

// Integers are exact in any order.
template <class Combine>
void reduce_integer_rows(const Tensor& out, const ConstTensor& parts, const Combine& combine) {
  const auto* in = parts.as<std::int32_t>();
  parallel_blocks(out.numel(), kElementBlock, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::int32_t value = in[i];
      for (std::int64_t r = 1; r < parts.shape[0]; ++r) {
        value = combine(value, in[r * out.numel() + i]);
      }
      out.as<std::int32_t>()[i] = value;
    }
  });
}

void copy_bytes(const Tensor& out, const ConstTensor& x) {
  const auto bytes = static_cast<std::int64_t>(out.bytes());
  parallel_blocks(bytes, 4 * kElementBlock, [&](std::int64_t begin, std::int64_t end) {
    std::memmove(out.data + begin, x.data + begin, static_cast<std::size_t>(end - begin));
  });
}

template <class T>
void fill_with(const Tensor& out, T value) {
  T* to = out.as<T>();
  parallel_blocks(out.numel(), kElementBlock, [=](std::int64_t begin, std::int64_t end) {
    const T same = value;  // not part of the closure, which the stores might change
    std::fill(to + begin, to + end, same);
  });
}

}  // namespace

void add(Stream& stream, Tensor out, ConstTensor a, ConstTensor b) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(add_elements)(out, a, b); });
}

void scale(Stream& stream, Tensor out, ConstTensor x, float factor) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(scale_elements)(out, x, factor); });
}

void cast(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] {
    if (out.dtype != x.dtype) {
      HWY_DYNAMIC_DISPATCH(convert)(out, x);
    } else {
      copy_bytes(out, x);
    }
  });
}

void copy(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] { copy_bytes(out, x); });
}

void fill(Stream& stream, Tensor out, float value) {
  stream.run_host([=] {
    if (out.dtype == DType::kI32) {
      fill_with(out, static_cast<std::int32_t>(std::lround(value)));
    } else if (out.dtype == DType::kU8) {
      fill_with(out, static_cast<std::uint8_t>(std::lround(value)));
    } else {
      visit_float(out.dtype, [&]<class T>() { fill_with(out, T(value)); });
    }
  });
}

// Not vectorised: the bits are those of normal_at, which are the C library's logarithm, sine and
// cosine in double.
void normal_fill(Stream& stream, const NormalFillArgs& args) {
  stream.run_host([=] {
    const std::int64_t columns = args.out_RC.shape[1];
    visit_float(args.out_RC.dtype, [&]<class T>() {
      constexpr std::int64_t kNormalCost = 32;  // a logarithm, a root, a sine or cosine
      parallel_for(args.out_RC.shape[0], kNormalCost * columns, [&](std::int64_t r) {
        T* row = args.out_RC.as<T>() + r * columns;
        const auto first = static_cast<std::uint64_t>((args.row_begin + r) * args.global_columns +
                                                      args.column_begin);
        const std::uint64_t last = first + static_cast<std::uint64_t>(columns);
        for (std::uint64_t pair = first / 2; 2 * pair < last; ++pair) {
          const auto normal = normal_pair_at(args.key, pair);
          for (std::uint64_t i = std::max(first, 2 * pair); i < std::min(last, 2 * pair + 2); ++i) {
            row[i - first] = T(args.mean + args.stddev * normal[i & 1]);
          }
        }
      });
    });
  });
}

void tree_sum(Stream& stream, Tensor out, ConstTensor parts) {
  stream.run_host([=] {
    if (out.dtype == DType::kI32) {
      reduce_integer_rows(out, parts, [](std::int32_t a, std::int32_t b) {
        return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) +
                                         static_cast<std::uint32_t>(b));
      });
    } else {
      HWY_DYNAMIC_DISPATCH(sum_rows)(out, parts);
    }
  });
}

void max_rows(Stream& stream, Tensor out, ConstTensor parts) {
  stream.run_host([=] {
    if (out.dtype == DType::kI32) {
      reduce_integer_rows(out, parts,
                          [](std::int32_t a, std::int32_t b) { return std::max(a, b); });
    } else {
      HWY_DYNAMIC_DISPATCH(largest_of_rows)(out, parts);
    }
  });
}

void sum_accumulate(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(add_total)(out, x); });
}

void bias_backward_weight(Stream& stream, Tensor db, ConstTensor dy) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(add_columns)(db, dy); });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
