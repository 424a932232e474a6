// The rotary frequencies of Llama 3.1 as files give them: parameters, or a factor for each pair.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace frugal {

struct Llama3Scaling {
  double factor = 8.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;
  std::int64_t original_max_position_embeddings = 8192;
};

// What the frequency theta^(-2i / head_dim) of each of the head_dim / 2 pairs is divided by: 1 for
// wavelengths below original / high, factor beyond original / low, between them the inverse of a
// mean of 1 and 1 / factor that is linear in the frequency (arXiv 2407.21783; Hugging Face's
// rope_type llama3).
std::vector<float> llama3_factors(const Llama3Scaling& scaling, double theta, int head_dim);

// The parameters that give these factors: of those with low 1, high 4 and a power of two of
// positions. nullopt where there are none.
std::optional<Llama3Scaling> llama3_scaling_of(const std::vector<float>& factors, double theta);

}  // namespace frugal
