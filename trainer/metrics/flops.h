// Model FLOP accounting. Formulas: per token 6 * (parameters that multiply) + attention over the
// causal half of the sequence.
#pragma once

#include <cstdint>

#include "trainer/config/config.h"

namespace frugal {

// Parameters of the whole model; tied embeddings count once. vocab_size unpadded. REQUIRES:
// model.vocab_size is set and defaults are resolved.
std::int64_t parameter_count(const ModelConfig& model);

// Training FLOPs of one token: 6 * (N - embedding tables that are only looked up) + 3 * L * 2 *
// heads * 2 * head_dim * S/2 (causal).
double training_flops_per_token(const ModelConfig& model, int sequence_length);

// FLOP/s of a large matmul in `bf16` or f32 on this process's threads: the best of a few short runs
// (under 0.3 s in all).
double measure_matmul_peak(bool bf16);

}  // namespace frugal
