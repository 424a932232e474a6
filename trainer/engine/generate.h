// Text from a model: prompts are fed whole, then every sequence one token at a time, all that are
// unfinished together; a sequence that ends makes room for the next prompt.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "trainer/data/tokenizer.h"
#include "trainer/engine/inference_model.h"

namespace frugal {

struct SamplingOptions {
  int max_new_tokens = 64;
  double temperature = 0.8;  // 0: the most likely token
  int top_k = 0;             // 0: all
  double top_p = 1.0;        // the fewest tokens whose probabilities reach it
  // Logits of tokens that are in the prompt or the text so far: divided by it where positive, else
  // multiplied (Keskar et al., arXiv 1909.05858). 1: none.
  double repetition_penalty = 1.0;
  // Of the tokenizer: ids from there on, which a model may have rows for, are never drawn.
  int vocab_size = 0;  // 0: all
  std::uint64_t seed = 1;
  std::vector<std::int32_t> stop_tokens;  // each ends a sequence; not part of the result
};

// One token from logits [vocab]; uniform in [0, 1) decides. Among equal logits the smaller id comes
// first. Penalises nothing. Throws Error(kDiverged) where a logit is no number.
std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          double uniform);

// A text's tokens as a prompt, never none: what texts begin with goes in front where the tokenizer
// has that, and a text without tokens is the end of one before.
std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, std::string_view text);

// What the last call on the model has fed of this prompt already, as tokens of sequence 0. Only for
// one prompt alone: a conversation that goes on.
struct Prompt {
  std::vector<std::int32_t> tokens;  // at least one that is not cached
  std::int64_t cached = 0;
};

// Hears every new token as soon as it is known: which prompt it continues, the token.
using TokenListener = std::function<void(std::size_t prompt, std::int32_t token)>;

// What follows each prompt. Ends where the model's positions end, too; of a longer prompt the last
// tokens are used. Prompt i draws from (seed, i, number of the token), whatever is beside it; but
// how many sequences run together may change the last bits of the logits. Collective: every rank
// gives the same and gets the same.
std::vector<std::vector<std::int32_t>> generate(InferenceModel& model, std::vector<Prompt> prompts,
                                                const SamplingOptions& options,
                                                const TokenListener& listener = {});

}  // namespace frugal
