#include "trainer/engine/score.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

#include "trainer/engine/generate.h"

namespace frugal {
namespace {

// The likeliest; the first of equals.
int best_of(const std::vector<double>& scores) {
  return static_cast<int>(std::ranges::max_element(scores) - scores.begin());
}

// Log-likelihood of a choice after the prompt.
double likelihood(InferenceModel& model, const std::vector<std::int32_t>& prompt,
                  const std::vector<std::int32_t>& choice) {
  std::vector<std::int32_t> tokens = prompt;
  tokens.insert(tokens.end(), choice.begin(), choice.end());
  // Inputs are all tokens but the last one.
  const auto most = static_cast<std::size_t>(model.limits().new_tokens) + 1;
  if (tokens.size() > most)
    tokens.erase(tokens.begin(), tokens.end() - static_cast<std::ptrdiff_t>(most));
  std::vector<std::int32_t> targets(tokens.begin() + 1, tokens.end());
  std::fill(targets.begin(), targets.end() - std::ssize(choice), -1);
  tokens.pop_back();
  return -model.loss(tokens, targets);
}

}  // namespace

double TextScore::perplexity() const {
  return std::exp(nats / static_cast<double>(std::max<std::int64_t>(tokens, 1)));
}

double TextScore::bits_per_byte() const {
  return nats / std::numbers::ln2 / static_cast<double>(std::max<std::int64_t>(bytes, 1));
}

TextScore score_text(InferenceModel& model, const Tokenizer& tokenizer, std::string_view text,
                     int window) {
  std::vector<std::int32_t> tokens;
  if (const auto begin = tokenizer.begin_of_text()) tokens.push_back(*begin);
  tokenizer.encode(text, tokens);
  const auto length = static_cast<std::size_t>(std::min(window, model.limits().new_tokens + 1));
  std::vector<double> sums(3, 0.0);  // nats, tokens, bytes
  std::size_t number = 0;
  for (std::size_t begin = 0; begin + 1 < tokens.size(); begin += length, ++number) {
    if (!model.is_own_share(number)) continue;
    const auto part = std::span(tokens).subspan(begin, std::min(length, tokens.size() - begin));
    if (part.size() < 2) continue;
    const auto targets = part.subspan(1);
    sums[0] += model.loss(part.first(part.size() - 1), targets);
    sums[1] += static_cast<double>(targets.size());
    for (const std::int32_t id : targets) {
      sums[2] += static_cast<double>(tokenizer.bytes_of(id).size());
    }
  }
  model.sum_over_replicas(sums);
  return {.nats = sums[0],
          .tokens = static_cast<std::int64_t>(sums[1]),
          .bytes = static_cast<std::int64_t>(sums[2])};
}

void check_choices(const Tokenizer& tokenizer, std::span<const Question> questions, int window) {
  for (std::size_t q = 0; q < questions.size(); ++q) {
    for (const std::string& choice : questions[q].choices) {
      std::vector<std::int32_t> ids;
      tokenizer.encode(choice, ids);
      if (std::ssize(ids) > 0 && std::ssize(ids) <= window) continue;
      fail(ErrorKind::kData, "question ", q + 1, ": a choice has ", ids.size(),
           " tokens, from 1 to ", window, " can be compared");
    }
  }
}

ChoiceScore score_choices(InferenceModel& model, const Tokenizer& tokenizer,
                          std::span<const Question> questions) {
  std::vector<double> right(2, 0.0);
  for (std::size_t q = 0; q < questions.size(); ++q) {
    if (!model.is_own_share(q)) continue;
    const Question& question = questions[q];
    const std::vector<std::int32_t> prompt = prompt_tokens(tokenizer, question.prompt);
    std::vector<double> whole, normalised;
    for (const std::string& choice : question.choices) {
      std::vector<std::int32_t> ids;
      tokenizer.encode(choice, ids);
      whole.push_back(likelihood(model, prompt, ids));
      normalised.push_back(whole.back() / static_cast<double>(choice.size()));
    }
    right[0] += best_of(whole) == question.answer ? 1.0 : 0.0;
    right[1] += best_of(normalised) == question.answer ? 1.0 : 0.0;
  }
  model.sum_over_replicas(right);
  return {.questions = static_cast<int>(questions.size()),
          .right = static_cast<int>(right[0]),
          .right_normalised = static_cast<int>(right[1])};
}

}  // namespace frugal
