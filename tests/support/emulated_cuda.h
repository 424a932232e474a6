// The CUDA backend's kernels on the CPU.
#pragma once

#include <string_view>

#include "kernels/ops/op_table.h"

namespace frugal::test {

// The ops that have CUDA kernels, emulated; the CPU backend's for the others. For CPU streams.
const OpTable& emulated_cuda_table();
// Whether a case of op_cases() is about an op that has a CUDA kernel.
bool has_cuda_kernel(std::string_view case_name);

}  // namespace frugal::test
