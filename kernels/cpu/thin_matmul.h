// Products of few rows, as generation has them: bound by reading b once, not by arithmetic.
#pragma once

#include "kernels/ops/matmul.h"

namespace frugal::cpu {

// Whether thin_matmul takes the product: at most four rows of a, each of b's rows in one piece.
bool is_thin(const MatmulArgs& args);

// ops::matmul, done now. REQUIRES: is_thin(args), no size is 0. The same bits for any number of
// threads.
void thin_matmul(const MatmulArgs& args);

}  // namespace frugal::cpu
