// Model FLOP accounting. Formulas: per token 6 * (parameters that multiply; with LoRA 4) +
// attention over the causal half of the sequence.
#pragma once

#include <cstdint>

#include "kernels/core/device.h"
#include "kernels/core/dtype.h"
#include "trainer/config/config.h"

namespace frugal {

// Parameters of the whole model; tied embeddings count once. vocab_size unpadded. REQUIRES:
// model.vocab_size is set and defaults are resolved.
std::int64_t parameter_count(const ModelConfig& model);

// Those that are trained: all, or LoRA's adapters.
std::int64_t trained_parameter_count(const ModelConfig& model, const LoraConfig& lora);

// Training FLOPs of one token: 6 * (N - embedding tables that are only looked up) + 3 * L * 2 *
// heads * 2 * head_dim * S/2 (causal). With LoRA the N of the base count 4, for they get no
// gradients, and those of the adapters 6.
double training_flops_per_token(const ModelConfig& model, const LoraConfig& lora,
                                int sequence_length);

// FLOP/s of a large matmul in f32 or a 16-bit type on one device, the CPU's with the caller's
// compute threads: the best of a few short runs on random numbers (under 0.3 s in all). Takes 100
// MiB of a GPU for the time.
double measure_matmul_peak(Device device, DType dtype);

}  // namespace frugal
