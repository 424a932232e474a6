// Matrix products that oneDNN has no fast kernel for.
#pragma once

#include "kernels/ops/matmul.h"

namespace frugal::cpu {

// ops::matmul without GELU, for non-empty sizes and any dtypes that ops::matmul takes: operands are
// widened to f32 while they are packed into the cache. An element is one chain of fused
// multiply-adds in the order of k, whatever the blocks and the number of threads; its bits depend
// on nothing else.
void packed_matmul(const MatmulArgs& args);

}  // namespace frugal::cpu
