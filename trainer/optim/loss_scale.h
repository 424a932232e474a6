// Dynamic loss scaling for float16 (Micikevicius et al., arXiv 1710.03740): the loss's gradient is
// multiplied by the scale, so that small gradients of activations do not vanish below float16's
// range, and the float32 gradients of weights are divided by it at the update. Powers of two: both
// are exact.
#pragma once

#include <cstdint>

#include "trainer/config/config.h"

namespace frugal {

// Below the least one, overflow is not the scale's fault: the run has diverged.
inline constexpr float kLeastLossScale = 1.0F, kLargestLossScale = 1 << 30;

struct LossScale {
  float value = 1.0F;
  std::int64_t good_updates = 0;  // since the value last changed
};

// Of a new run: 1 but in fp16.
LossScale first_loss_scale(const PrecisionConfig& precision);

// After an update: halved where that was skipped, since a gradient was not finite, also below the
// least; doubled after precision.loss_scale_window updates that were not, up to the largest. Always
// 1 but in fp16. A pure function: a resumed run goes on where it was.
LossScale next_loss_scale(LossScale scale, bool skipped, const PrecisionConfig& precision);

}  // namespace frugal
