#include "trainer/optim/loss_scale.h"

#include <algorithm>

namespace frugal {

LossScale first_loss_scale(const PrecisionConfig& precision) {
  if (precision.compute != "fp16") return {};
  return {.value = static_cast<float>(precision.initial_loss_scale)};
}

LossScale next_loss_scale(LossScale scale, bool skipped, const PrecisionConfig& precision) {
  if (precision.compute != "fp16") return {};
  if (skipped) return {.value = scale.value / 2.0F};
  ++scale.good_updates;
  if (scale.good_updates < precision.loss_scale_window) return scale;
  return {.value = std::min(scale.value * 2.0F, kLargestLossScale)};
}

}  // namespace frugal
