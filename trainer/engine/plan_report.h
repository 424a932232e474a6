// What a run needs, before it starts.
#pragma once

#include <cstddef>
#include <string>

#include "trainer/config/config.h"

namespace frugal {

// "1.5 GiB", "12.0 MiB".
std::string bytes_text(std::size_t bytes);

// "134.52M parameters", "135.43M parameters, of which 0.92M are trained (LoRA)".
std::string parameters_text(const Config& config);

// Layout, bytes per rank by category, the schedule drawn and its predicted bubble. The config is
// resolved and has its vocabulary. Allocates nothing of what it counts.
std::string plan_report(const Config& config);

}  // namespace frugal
