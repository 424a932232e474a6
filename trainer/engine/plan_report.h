// What a run needs, before it starts.
#pragma once

#include <cstddef>
#include <string>

#include "trainer/config/config.h"

namespace frugal {

// "1.5 GiB", "12.0 MiB".
std::string bytes_text(std::size_t bytes);

// Layout, bytes per rank by category, the schedule drawn and its predicted bubble. The config is
// resolved and has its vocabulary. Allocates nothing of what it counts.
std::string plan_report(const Config& config);

}  // namespace frugal
