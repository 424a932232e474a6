// Attention's implementations, for the list in attention.cu.
#pragma once

#include <span>
#include <string>

#include "kernels/core/stream.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/attention_choice.h"
#include "kernels/ops/implementations.h"

namespace frugal::cu {

// The lists, for tests.
std::span<const Implementation<AttentionForwardArgs>> attention_forward_implementations();
std::span<const Implementation<AttentionBackwardArgs>> attention_backward_implementations();

// The one that takes tensors of this problem at multiples of 16 bytes; cuDNN with its version.
std::string attention_implementation(Stream& stream, const PlannedAttention& attention);

// On tensor cores (attention_mma_*.cu): 16-bit types that the GPU's take, head dimensions up to 256
// (backward before compute capability 8.0: 192) that are a multiple of 8, tensors at multiples of
// 16 bytes, positive scales. Deterministic.
void mma_attention_forward(Stream& stream, const AttentionForwardArgs& args);
void mma_attention_backward_input(Stream& stream, const AttentionBackwardArgs& args);

// For everything else (attention_general.cu).
void general_attention_forward(Stream& stream, const AttentionForwardArgs& args);
void general_attention_backward_input(Stream& stream, const AttentionBackwardArgs& args);

}  // namespace frugal::cu
