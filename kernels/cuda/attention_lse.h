// The layout of lse that cuDNN's backward asks for.
#pragma once

#include <cstdint>

#include "kernels/core/stream.h"

namespace frugal::cu {

// to[b, n, s] = from[b, s, n] for `sequences` b of `length` s and `heads` n.
void transpose_lse(Stream& stream, float* to, const float* from, std::int64_t sequences,
                   std::int64_t length, std::int64_t heads);

}  // namespace frugal::cu
