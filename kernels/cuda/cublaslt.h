// Products by cuBLASLt, where the machine has it.
#pragma once

#include "kernels/core/stream.h"
#include "kernels/ops/matmul.h"

namespace frugal::cu {

// For the list of ops::matmul (kernels/ops/implementations.h). The algorithm of a product is the
// one that choose_algorithms() has found, or the first that cuBLASLt proposes: the same in every
// run. Sums in float32, or split over the inner dimension with float32 partial sums: rounded once.
const char* cublaslt_declines(Stream& stream, const MatmulArgs& args);
void cublaslt_matmul(Stream& stream, const MatmulArgs& args);

}  // namespace frugal::cu
