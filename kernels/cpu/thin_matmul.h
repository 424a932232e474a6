// Products of few rows, as generation has them: bound by reading b once, not by arithmetic.
#pragma once

#include <span>

#include "kernels/ops/matmul.h"

namespace frugal::cpu {

// Whether thin_matmul takes the product: at most four rows of a, each of b's rows in one piece, M
// and K not 0.
bool is_thin(const MatmulArgs& args);

// ops::matmul_group without GELU, done now. REQUIRES: is_thin of each. The same bits for any number
// of threads, and together as alone.
void thin_matmul(std::span<const MatmulArgs> products);

}  // namespace frugal::cpu
