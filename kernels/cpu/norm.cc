// Rows are independent in forward and input gradient; weight gradients sum fixed blocks of tokens,
// then the blocks in order.
#include <cmath>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

namespace frugal::cpu {
namespace {

constexpr std::int64_t kTokenBlock = 64;

// Sums of a row in eight fixed lanes: vectorises without reordering.
template <class Fn>
float row_sum(std::int64_t count, const Fn& term) {
  float lanes[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (std::int64_t l = 0; l < 8; ++l) lanes[l] += term(i + l);
  }
  for (; i < count; ++i) lanes[i % 8] += term(i);
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

struct WeightGradient {
  Tensor dw_D, db_D;
  ConstTensor dy_TD, x_TD, mean_T, rstd_T;  // mean_T null for RMSNorm
};

// Adds tokens [begin, end) into sums: D of dw, then D of db.
template <class T>
void add_block(const WeightGradient& args, std::int64_t begin, std::int64_t end, float* sums) {
  const std::int64_t width = args.x_TD.shape[1];
  for (std::int64_t t = begin; t < end; ++t) {
    const T* dy = args.dy_TD.as<T>() + t * width;
    const T* x = args.x_TD.as<T>() + t * width;
    const float mean = args.mean_T.data != nullptr ? args.mean_T.as<float>()[t] : 0.0F;
    const float rstd = args.rstd_T.as<float>()[t];
    for (std::int64_t d = 0; d < width; ++d) {
      const auto g = static_cast<float>(dy[d]);
      sums[d] += g * (static_cast<float>(x[d]) - mean) * rstd;
      sums[width + d] += g;
    }
  }
}

void weight_gradient(const WeightGradient& args) {
  const std::int64_t tokens = args.x_TD.shape[0];
  const std::int64_t width = args.x_TD.shape[1];
  const std::int64_t blocks = (tokens + kTokenBlock - 1) / kTokenBlock;
  std::vector<float> sums(static_cast<std::size_t>(blocks * 2 * width), 0.0F);
  visit_float(args.x_TD.dtype, [&]<class T>() {
    parallel_blocks(tokens, kTokenBlock, [&](std::int64_t begin, std::int64_t end) {
      add_block<T>(args, begin, end, sums.data() + begin / kTokenBlock * 2 * width);
    });
  });
  float* dw = args.dw_D.as<float>();
  float* db = args.db_D.data != nullptr ? args.db_D.as<float>() : nullptr;
  parallel_blocks(width, 256, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t d = first; d < last; ++d) {
      float w = 0.0F;
      float b = 0.0F;
      for (std::int64_t block = 0; block < blocks; ++block) {
        w += sums[static_cast<std::size_t>(block * 2 * width + d)];
        b += sums[static_cast<std::size_t>(block * 2 * width + width + d)];
      }
      dw[d] += w;
      if (db != nullptr) db[d] += b;
    }
  });
}

// Both norms' input gradient: with a mean, LayerNorm; without, RMSNorm.
template <class T>
void input_gradient_row(const LayerNormBackwardInputArgs& args, std::int64_t t) {
  const std::int64_t width = args.x_TD.shape[1];
  const T* dy = args.dy_TD.as<T>() + t * width;
  const T* x = args.x_TD.as<T>() + t * width;
  const T* w = args.w_D.as<T>();
  const T* add = args.add_TD.data != nullptr ? args.add_TD.as<T>() + t * width : nullptr;
  T* dx = args.dx_TD.as<T>() + t * width;
  const bool centred = args.mean_T.data != nullptr;
  const float mean = centred ? args.mean_T.as<float>()[t] : 0.0F;
  const float rstd = args.rstd_T.as<float>()[t];
  const auto n = static_cast<float>(width);
  const auto g = [&](std::int64_t d) {
    return static_cast<float>(dy[d]) * static_cast<float>(w[d]);
  };
  const auto xhat = [&](std::int64_t d) { return (static_cast<float>(x[d]) - mean) * rstd; };
  const float sum = centred ? row_sum(width, g) / n : 0.0F;
  const float dot = row_sum(width, [&](std::int64_t d) { return g(d) * xhat(d); }) / n;
  for (std::int64_t d = 0; d < width; ++d) {
    float value = rstd * (g(d) - sum - xhat(d) * dot);
    if (add != nullptr) value += static_cast<float>(add[d]);
    dx[d] = T(value);
  }
}

void input_gradient(const LayerNormBackwardInputArgs& args) {
  visit_float(args.x_TD.dtype, [&]<class T>() {
    parallel_for(args.x_TD.shape[0], [&](std::int64_t t) { input_gradient_row<T>(args, t); });
  });
}

template <class T>
void layer_norm_row(const LayerNormForwardArgs& args, std::int64_t t) {
  const std::int64_t width = args.x_TD.shape[1];
  const T* x = args.x_TD.as<T>() + t * width;
  const T* w = args.w_D.as<T>();
  const T* b = args.b_D.data != nullptr ? args.b_D.as<T>() : nullptr;
  T* out = args.out_TD.as<T>() + t * width;
  const auto n = static_cast<float>(width);
  const float mean = row_sum(width, [&](std::int64_t d) { return static_cast<float>(x[d]); }) / n;
  const float variance = row_sum(width,
                                 [&](std::int64_t d) {
                                   const float centred = static_cast<float>(x[d]) - mean;
                                   return centred * centred;
                                 }) /
                         n;
  const float rstd = 1.0F / std::sqrt(variance + args.eps);
  args.mean_T.as<float>()[t] = mean;
  args.rstd_T.as<float>()[t] = rstd;
  for (std::int64_t d = 0; d < width; ++d) {
    const float value = (static_cast<float>(x[d]) - mean) * rstd * static_cast<float>(w[d]);
    out[d] = T(b != nullptr ? value + static_cast<float>(b[d]) : value);
  }
}

}  // namespace

void rms_norm_forward(Stream& stream, Tensor out, Tensor rstd, ConstTensor x, ConstTensor w,
                      float eps) {
  stream.run_host([=] {
    const std::int64_t width = x.shape[1];
    visit_float(x.dtype, [&]<class T>() {
      parallel_for(x.shape[0], [&](std::int64_t t) {
        const T* row = x.as<T>() + t * width;
        T* to = out.as<T>() + t * width;
        const float squares = row_sum(width, [&](std::int64_t d) {
          const auto value = static_cast<float>(row[d]);
          return value * value;
        });
        const float scale = 1.0F / std::sqrt(squares / static_cast<float>(width) + eps);
        rstd.as<float>()[t] = scale;
        for (std::int64_t d = 0; d < width; ++d) {
          to[d] = T(static_cast<float>(row[d]) * scale * static_cast<float>(w.as<T>()[d]));
        }
      });
    });
  });
}

void rms_norm_backward_input(Stream& stream, const RmsNormBackwardInputArgs& args) {
  stream.run_host([=] {
    input_gradient({.dx_TD = args.dx_TD,
                    .dy_TD = args.dy_TD,
                    .x_TD = args.x_TD,
                    .w_D = args.w_D,
                    .mean_T = {},
                    .rstd_T = args.rstd_T,
                    .add_TD = args.add_TD});
  });
}

void rms_norm_backward_weight(Stream& stream, Tensor dw, ConstTensor dy, ConstTensor x,
                              ConstTensor rstd) {
  stream.run_host([=] {
    weight_gradient({.dw_D = dw, .db_D = {}, .dy_TD = dy, .x_TD = x, .mean_T = {}, .rstd_T = rstd});
  });
}

void layer_norm_forward(Stream& stream, const LayerNormForwardArgs& args) {
  stream.run_host([=] {
    visit_float(args.x_TD.dtype, [&]<class T>() {
      parallel_for(args.x_TD.shape[0], [&](std::int64_t t) { layer_norm_row<T>(args, t); });
    });
  });
}

void layer_norm_backward_input(Stream& stream, const LayerNormBackwardInputArgs& args) {
  stream.run_host([=] { input_gradient(args); });
}

void layer_norm_backward_weight(Stream& stream, const LayerNormBackwardWeightArgs& args) {
  stream.run_host([=] {
    weight_gradient({.dw_D = args.dw_D,
                     .db_D = args.db_D,
                     .dy_TD = args.dy_TD,
                     .x_TD = args.x_TD,
                     .mean_T = args.mean_T,
                     .rstd_T = args.rstd_T});
  });
}

}  // namespace frugal::cpu
