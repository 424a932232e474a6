// The CUDA backend's kernels on the CPU.
#pragma once

#include "kernels/ops/op_table.h"

namespace frugal::test {

// For CPU streams.
const OpTable& emulated_cuda_table();

}  // namespace frugal::test
