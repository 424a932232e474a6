#include "trainer/optim/learning_rate.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"

namespace frugal {

float learning_rate_at(const OptimizerConfig& optimizer, const SchedulerConfig& scheduler,
                       std::int64_t total_steps, std::int64_t update) {
  const double peak = optimizer.learning_rate;
  const std::int64_t warmup = scheduler.warmup_steps;
  if (update < warmup) {
    return static_cast<float>(peak * static_cast<double>(update) / static_cast<double>(warmup));
  }
  if (scheduler.name == "constant") return static_cast<float>(peak);

  const bool wsd = scheduler.name == "wsd";
  const std::int64_t decay =
      wsd ? scheduler.decay_steps.value_or(static_cast<int>(total_steps / 10))
          : scheduler.decay_steps.value_or(static_cast<int>(total_steps - warmup));
  const std::int64_t begin = wsd ? total_steps - decay : warmup;
  if (update <= begin) return static_cast<float>(peak);
  const double progress =
      std::min(1.0, static_cast<double>(update - begin) / static_cast<double>(decay));
  double share = 1.0 - progress;  // linear and wsd
  if (scheduler.name == "cosine") {
    share = 0.5 * (1.0 + std::cos(progress * 3.14159265358979323846));
  } else {
    FRUGAL_CHECK(wsd || scheduler.name == "linear", "scheduler ", scheduler.name);
  }
  return static_cast<float>(scheduler.min_lr + (peak - scheduler.min_lr) * share);
}

}  // namespace frugal
