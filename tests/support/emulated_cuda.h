// The CUDA backend's kernels on the CPU.
#pragma once

#include "kernels/cuda/emulation/emulation.h"
#include "kernels/ops/op_table.h"

namespace frugal::test {

// For CPU streams.
const OpTable& emulated_cuda_table();

// Orders of threads that a kernel's results are compared in. AddressSanitizer looks at where
// kernels read and write, which no order changes.
#ifdef __SANITIZE_ADDRESS__
inline constexpr emulation::Order kTriedOrders[] = {emulation::Order::kMixed};
#else
inline constexpr auto& kTriedOrders = emulation::kOrders;
#endif

}  // namespace frugal::test
