#include <cmath>

#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {

void rms_norm_forward(Stream& stream, Tensor out, Tensor rstd, ConstTensor x, ConstTensor w,
                      float eps) {
  stream.run_host([=] {
    const std::int64_t width = x.shape[1];
    for (std::int64_t t = 0; t < x.shape[0]; ++t) {
      double squares = 0.0;
      for (std::int64_t d = 0; d < width; ++d)
        squares += at(x, t * width + d) * at(x, t * width + d);
      const double scale =
          1.0 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(eps));
      put(rstd, t, scale);
      for (std::int64_t d = 0; d < width; ++d)
        put(out, t * width + d, at(x, t * width + d) * scale * at(w, d));
    }
  });
}

void rms_norm_backward_input(Stream& stream, const RmsNormBackwardInputArgs& args) {
  stream.run_host([=] {
    const std::int64_t width = args.x_TD.shape[1];
    for (std::int64_t t = 0; t < args.x_TD.shape[0]; ++t) {
      const double rstd = at(args.rstd_T, t);
      double dot = 0.0;
      for (std::int64_t d = 0; d < width; ++d) {
        dot +=
            at(args.dy_TD, t * width + d) * at(args.w_D, d) * at(args.x_TD, t * width + d) * rstd;
      }
      dot /= static_cast<double>(width);
      for (std::int64_t d = 0; d < width; ++d) {
        const std::int64_t i = t * width + d;
        double dx = rstd * (at(args.dy_TD, i) * at(args.w_D, d) - at(args.x_TD, i) * rstd * dot);
        if (args.add_TD.data != nullptr) dx += at(args.add_TD, i);
        put(args.dx_TD, i, dx);
      }
    }
  });
}

void rms_norm_backward_weight(Stream& stream, Tensor dw, ConstTensor dy, ConstTensor x,
                              ConstTensor rstd) {
  stream.run_host([=] {
    const std::int64_t width = x.shape[1];
    for (std::int64_t d = 0; d < width; ++d) {
      double sum = at(dw, d);
      for (std::int64_t t = 0; t < x.shape[0]; ++t) {
        sum += at(dy, t * width + d) * at(x, t * width + d) * at(rstd, t);
      }
      put(dw, d, sum);
    }
  });
}

void layer_norm_forward(Stream& stream, const LayerNormForwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t width = args.x_TD.shape[1];
    const auto n = static_cast<double>(width);
    for (std::int64_t t = 0; t < args.x_TD.shape[0]; ++t) {
      double mean = 0.0;
      for (std::int64_t d = 0; d < width; ++d) mean += at(args.x_TD, t * width + d) / n;
      double variance = 0.0;
      for (std::int64_t d = 0; d < width; ++d)
        variance += std::pow(at(args.x_TD, t * width + d) - mean, 2) / n;
      const double rstd = 1.0 / std::sqrt(variance + static_cast<double>(args.eps));
      put(args.mean_T, t, mean);
      put(args.rstd_T, t, rstd);
      for (std::int64_t d = 0; d < width; ++d) {
        const double bias = args.b_D.data != nullptr ? at(args.b_D, d) : 0.0;
        put(args.out_TD, t * width + d,
            (at(args.x_TD, t * width + d) - mean) * rstd * at(args.w_D, d) + bias);
      }
    }
  });
}

void layer_norm_backward_input(Stream& stream, const LayerNormBackwardInputArgs& args) {
  stream.run_host([=] {
    const std::int64_t width = args.x_TD.shape[1];
    const auto n = static_cast<double>(width);
    for (std::int64_t t = 0; t < args.x_TD.shape[0]; ++t) {
      const double mean = at(args.mean_T, t);
      const double rstd = at(args.rstd_T, t);
      double sum = 0.0;
      double dot = 0.0;
      for (std::int64_t d = 0; d < width; ++d) {
        const double g = at(args.dy_TD, t * width + d) * at(args.w_D, d);
        sum += g / n;
        dot += g * (at(args.x_TD, t * width + d) - mean) * rstd / n;
      }
      for (std::int64_t d = 0; d < width; ++d) {
        const std::int64_t i = t * width + d;
        const double xhat = (at(args.x_TD, i) - mean) * rstd;
        double dx = rstd * (at(args.dy_TD, i) * at(args.w_D, d) - sum - xhat * dot);
        if (args.add_TD.data != nullptr) dx += at(args.add_TD, i);
        put(args.dx_TD, i, dx);
      }
    }
  });
}

void layer_norm_backward_weight(Stream& stream, const LayerNormBackwardWeightArgs& args) {
  stream.run_host([=] {
    const std::int64_t width = args.x_TD.shape[1];
    for (std::int64_t d = 0; d < width; ++d) {
      double dw = at(args.dw_D, d);
      double db = 0.0;
      for (std::int64_t t = 0; t < args.x_TD.shape[0]; ++t) {
        const std::int64_t i = t * width + d;
        dw += at(args.dy_TD, i) * (at(args.x_TD, i) - at(args.mean_T, t)) * at(args.rstd_T, t);
        db += at(args.dy_TD, i);
      }
      put(args.dw_D, d, dw);
      if (args.db_D.data != nullptr) put(args.db_D, d, at(args.db_D, d) + db);
    }
  });
}

}  // namespace frugal::ref
