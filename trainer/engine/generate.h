// Text from a model, one token at a time. No cache of keys and values: every token runs the whole
// window.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/engine/rank_model.h"

namespace frugal {

struct SamplingOptions {
  int max_new_tokens = 64;
  double temperature = 0.8;  // 0: the most likely token
  int top_k = 0;             // 0: all
  double top_p = 1.0;        // the fewest tokens whose probabilities reach it
  std::uint64_t seed = 1;
  std::int32_t end_of_text = -1;  // ends a sequence; not part of the result
};

// One token from logits [vocab]; uniform in [0, 1) decides. Among equal logits the smaller id comes
// first.
std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          double uniform);

// What follows each prompt (at least one token each). A pure function of weights, prompts and
// options: prompt i draws from (seed, i). Collective: every rank gives the same and gets the same.
std::vector<std::vector<std::int32_t>> generate(RankModel& model,
                                                std::vector<std::vector<std::int32_t>> prompts,
                                                const SamplingOptions& options);

}  // namespace frugal
