// Learning-rate schedules.
#pragma once

#include <cstdint>

#include "trainer/config/config.h"

namespace frugal {

// The rate of update `update` (from 1) of `total_steps`: a pure function, so a resumed run goes on
// where it was.
//   warm-up    linear from 0, the full rate at update warmup_steps
//   constant   the full rate
//   cosine     half a cosine from the full rate to min_lr over decay_steps after warm-up (auto: to
//              the last update), then min_lr
//   linear     a straight line over the same updates
//   wsd        the full rate, then a straight line to min_lr over the last decay_steps (auto: a
//              tenth of total_steps)
float learning_rate_at(const OptimizerConfig& optimizer, const SchedulerConfig& scheduler,
                       std::int64_t total_steps, std::int64_t update);

}  // namespace frugal
