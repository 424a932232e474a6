#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/core/stochastic_rounding.h"
#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {

namespace {

// Element i of a piece.
void put_by_chance(const AdamwPiece& piece, const Tensor& t, std::int64_t i, double value,
                   std::uint64_t purpose) {
  if (t.dtype != DType::kBF16) return put(t, i, value);
  const std::int64_t element = piece.begin + i;
  const auto noise = rounding_noise(piece.rounding_key, element / kRoundingGroup, purpose);
  t.as<BFloat16>()[i] = round_by_chance(
      static_cast<float>(value), noise_of(noise, static_cast<int>(element % kRoundingGroup)));
}

void update(const AdamwPiece& piece, const AdamwScalars& scalars) {
  const bool own_master = !given(piece.master_N);
  const Tensor master = own_master ? piece.weight_N : piece.master_N;
  const auto beta1 = static_cast<double>(scalars.beta1);
  const auto beta2 = static_cast<double>(scalars.beta2);
  for (std::int64_t i = 0; i < piece.weight_N.numel(); ++i) {
    const double g = at(piece.grad_N, i) * static_cast<double>(scalars.grad_scale);
    const double m = beta1 * at(piece.m_N, i) + (1.0 - beta1) * g;
    const double v = beta2 * at(piece.v_N, i) + (1.0 - beta2) * g * g;
    const double mhat = m / static_cast<double>(scalars.bias_correction1);
    const double vhat = v / static_cast<double>(scalars.bias_correction2);
    const double step = mhat / (std::sqrt(vhat) + static_cast<double>(scalars.eps)) +
                        static_cast<double>(piece.weight_decay) * at(master, i);
    const double w = at(master, i) - static_cast<double>(scalars.learning_rate) * step;
    put_by_chance(piece, piece.m_N, i, m, kMNoise);
    put_by_chance(piece, piece.v_N, i, v, kVNoise);
    put_by_chance(piece, master, i, w, kWeightNoise);
    if (!own_master) put(piece.weight_N, i, at(master, i));
  }
}

}  // namespace

void adamw_step(Stream& stream, std::span<const AdamwPiece> pieces, const AdamwScalars& scalars) {
  stream.run_host([pieces = std::vector(pieces.begin(), pieces.end()), scalars] {
    for (const AdamwPiece& piece : pieces) update(piece, scalars);
  });
}

void block_sum_squares(Stream& stream, Tensor out, ConstTensor x, std::int64_t block) {
  stream.run_host([=] {
    for (std::int64_t b = 0; b < out.numel(); ++b) {
      double sum = 0.0;
      for (std::int64_t i = b * block; i < std::min(x.numel(), (b + 1) * block); ++i)
        sum += at(x, i) * at(x, i);
      put(out, b, sum);
    }
  });
}

}  // namespace frugal::ref
