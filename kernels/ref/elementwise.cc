#include <cmath>

#include "kernels/core/rng.h"
#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {
namespace {

// In float, since the tree fixes the bits.
float tree(const ConstTensor& parts, std::int64_t column, std::int64_t begin, std::int64_t end) {
  if (end - begin == 1) {
    return static_cast<float>(at(parts, begin * (parts.numel() / parts.shape[0]) + column));
  }
  std::int64_t half = 1;
  while (half * 2 < end - begin) half *= 2;
  return tree(parts, column, begin, begin + half) + tree(parts, column, begin + half, end);
}

}  // namespace

void add(Stream& stream, Tensor out, ConstTensor a, ConstTensor b) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < out.numel(); ++i) put(out, i, at(a, i) + at(b, i));
  });
}

void scale(Stream& stream, Tensor out, ConstTensor x, float factor) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      put(out, i, static_cast<double>(factor) * at(x, i));
    }
  });
}

void cast(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < out.numel(); ++i) put(out, i, at(x, i));
  });
}

void copy(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] {
    for (std::size_t i = 0; i < x.bytes(); ++i) out.data[i] = x.data[i];
  });
}

void fill(Stream& stream, Tensor out, float value) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      if (out.dtype == DType::kI32) {
        out.as<std::int32_t>()[i] = static_cast<std::int32_t>(std::lround(value));
      } else if (out.dtype == DType::kU8) {
        out.as<std::uint8_t>()[i] = static_cast<std::uint8_t>(std::lround(value));
      } else {
        put(out, i, static_cast<double>(value));
      }
    }
  });
}

void normal_fill(Stream& stream, const NormalFillArgs& args) {
  stream.run_host([=] {
    const std::int64_t columns = args.out_RC.shape[1];
    for (std::int64_t i = 0; i < args.out_RC.numel(); ++i) {
      const std::int64_t index =
          (args.row_begin + i / columns) * args.global_columns + args.column_begin + i % columns;
      put(args.out_RC, i,
          static_cast<double>(
              args.mean + args.stddev * normal_at(args.key, static_cast<std::uint64_t>(index))));
    }
  });
}

void tree_sum(Stream& stream, Tensor out, ConstTensor parts) {
  stream.run_host([=] {
    if (out.dtype == DType::kI32) {
      for (std::int64_t i = 0; i < out.numel(); ++i) {
        std::uint32_t sum = 0;  // wraps
        for (std::int64_t r = 0; r < parts.shape[0]; ++r)
          sum += static_cast<std::uint32_t>(parts.as<std::int32_t>()[r * out.numel() + i]);
        out.as<std::int32_t>()[i] = static_cast<std::int32_t>(sum);
      }
      return;
    }
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      put(out, i, static_cast<double>(tree(parts, i, 0, parts.shape[0])));
    }
  });
}

void max_rows(Stream& stream, Tensor out, ConstTensor parts) {
  stream.run_host([=] {
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      double largest = at(parts, i);
      for (std::int64_t r = 1; r < parts.shape[0]; ++r) {
        const double value = at(parts, r * out.numel() + i);
        if (value > largest || std::isnan(value)) largest = value;
      }
      put(out, i, largest);
    }
  });
}

void sum_accumulate(Stream& stream, Tensor out, ConstTensor x) {
  stream.run_host([=] {
    double sum = 0.0;
    for (std::int64_t i = 0; i < x.numel(); ++i) sum += at(x, i);
    put(out, 0, at(out, 0) + sum);
  });
}

void bias_backward_weight(Stream& stream, Tensor db, ConstTensor dy) {
  stream.run_host([=] {
    const std::int64_t columns = dy.shape[1];
    for (std::int64_t n = 0; n < columns; ++n) {
      double sum = at(db, n);
      for (std::int64_t t = 0; t < dy.shape[0]; ++t) sum += at(dy, t * columns + n);
      put(db, n, sum);
    }
  });
}

}  // namespace frugal::ref
