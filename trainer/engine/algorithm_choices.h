// The algorithms of matrix products and attention, chosen once for a run.
#pragma once

#include <string>

#include "comm/process_group.h"
#include "kernels/core/device.h"
#include "trainer/config/config.h"

namespace frugal {

// Collective. Chooses by measurement for the products of this run's plan (kernels/ops/product.h),
// but for those that `path` holds from an earlier start; all ranks on like GPUs choose alike, and
// rank 0 writes what is new to the file, and what computes attention, which is not chosen but
// found. Call it before memory is taken: measuring needs some. Does nothing on the CPU. Returns, on
// rank 0, a sentence about what other libraries compute now than in an earlier start, or nothing.
// Throws Error(kData) where the file cannot be read or written.
std::string choose_algorithms_once(const Config& config, ProcessGroup& world, Device device,
                                   const std::string& path);

}  // namespace frugal
