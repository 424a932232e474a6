// How well a model foretells texts, and which of several continuations it finds likely.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "trainer/data/questions.h"
#include "trainer/data/tokenizer.h"
#include "trainer/engine/inference_model.h"

namespace frugal {

struct TextScore {
  double nats = 0;            // sum of -log p over the tokens that were foretold
  std::int64_t tokens = 0;    // of them
  std::int64_t bytes = 0;     // that they stand for
  double perplexity() const;  // of a token
  double bits_per_byte() const;
};

// The text in windows of at most `window` tokens, one after the other; every token but the first of
// each window is foretold from those before it in the window, and the first one of the text too,
// where the tokenizer has a token that texts begin with. Data-parallel replicas share the windows.
// Collective; all get the same.
TextScore score_text(InferenceModel& model, const Tokenizer& tokenizer, std::string_view text,
                     int window);

struct ChoiceScore {
  int questions = 0;
  int right = 0;             // the answer is the likeliest as a whole
  int right_normalised = 0;  // the likeliest per byte
};

// Throws Error(kData) where a choice has more tokens than a window leaves it: at least one token
// before it is seen.
void check_choices(const Tokenizer& tokenizer, std::span<const Question> questions, int window);

// Choices are compared by the log-likelihood of their tokens after the prompt's. Of a question that
// is longer than the model's limits the prompt's first tokens are left out. Collective as above.
// REQUIRES: check_choices of limits().new_tokens holds.
ChoiceScore score_choices(InferenceModel& model, const Tokenizer& tokenizer,
                          std::span<const Question> questions);

}  // namespace frugal
