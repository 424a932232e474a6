// Which implementation computes an attention.
#pragma once

#include <string_view>

#include "kernels/core/stream.h"
#include "kernels/ops/attention.h"

namespace frugal::cu {

// The first of the list that accepts the problem on the stream's GPU.
std::string_view attention_forward_implementation(const Stream& stream,
                                                  const AttentionForwardArgs& args);
std::string_view attention_backward_implementation(const Stream& stream,
                                                   const AttentionBackwardArgs& args);

// On tensor cores (attention_mma_*.cu). Accepts 16-bit types that the GPU's tensor cores take,
// head dimensions up to 256 (a backward before compute capability 8.0: 192) that are a multiple of
// 8, tensors at multiples of 16 bytes, and a positive scale.
bool mma_attention_accepts(const Stream& stream, const AttentionForwardArgs& args);
bool mma_attention_accepts(const Stream& stream, const AttentionBackwardArgs& args);
void mma_attention_forward(Stream& stream, const AttentionForwardArgs& args);
void mma_attention_backward_input(Stream& stream, const AttentionBackwardArgs& args);

// For everything else (attention_general.cu).
void general_attention_forward(Stream& stream, const AttentionForwardArgs& args);
void general_attention_backward_input(Stream& stream, const AttentionBackwardArgs& args);

}  // namespace frugal::cu
