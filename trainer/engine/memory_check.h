// Whether a rank's memory is there, and what to change where it is not.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/core/device.h"
#include "trainer/config/config.h"
#include "trainer/engine/rank_place.h"

namespace frugal {

// Throws Error(kPreflight) when the plan of rank world_rank does not fit the memory that is free on
// its device, or that of the host: what it needs, which part is the largest and the two nearest
// settings that fit. Ranks of one host are taken for alike.
void check_memory(const Config& config, int world_rank, const RankPlace& place, Device device);

// The nearest settings under which the rank needs no more than `bytes` on the device, as overrides
// with what they need; at most two. Smaller micro-batches come first, then recomputation.
std::string settings_that_fit(const Config& config, int world_rank, Device device,
                              std::size_t bytes);

}  // namespace frugal
