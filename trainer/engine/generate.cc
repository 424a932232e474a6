#include "trainer/engine/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

#include "kernels/core/rng.h"

namespace frugal {
namespace {

constexpr std::uint64_t kSamplePurpose = 3;  // rng_key: tokens of generated text

// The candidates by falling logit, the smaller id first among equals.
class Candidates {
 public:
  explicit Candidates(std::span<const float> logits) : logits_(logits), ids_(logits.size()) {
    std::iota(ids_.begin(), ids_.end(), 0);
  }

  void keep_best(std::size_t count) {
    if (count >= ids_.size()) return;
    const auto end = ids_.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(ids_.begin(), end, ids_.end(),
                     [this](std::int32_t a, std::int32_t b) { return before(a, b); });
    ids_.erase(end, ids_.end());
  }

  // The best whose weights reach the share of all.
  template <class Weight>
  void keep_share(double share, const Weight& weight) {
    double all = 0, inside = 0;
    for (const std::int32_t id : ids_) all += weight(id);
    const auto after = [this](std::int32_t a, std::int32_t b) { return before(b, a); };
    std::ranges::make_heap(ids_, after);  // its top is the best
    std::vector<std::int32_t> kept;
    while (!ids_.empty() && (kept.empty() || inside < share * all)) {
      std::ranges::pop_heap(ids_, after);
      inside += weight(ids_.back());
      kept.push_back(ids_.back());
      ids_.pop_back();
    }
    ids_ = std::move(kept);
  }

  // By id, so that what is drawn depends on who was kept alone.
  const std::vector<std::int32_t>& in_order() {
    std::ranges::sort(ids_);
    return ids_;
  }

 private:
  bool before(std::int32_t a, std::int32_t b) const {
    const float x = logits_[static_cast<std::size_t>(a)], y = logits_[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  }

  std::span<const float> logits_;
  std::vector<std::int32_t> ids_;
};

// One prompt on its way.
struct Sequence {
  std::size_t prompt = 0;
  std::vector<std::int32_t> tokens;  // the prompt's and the new ones
  std::int64_t fed = 0;              // of them the cache has
  int made = 0;                      // new ones
  std::set<std::int32_t> seen;       // for the penalty
};

class Generation {
 public:
  Generation(InferenceModel& model, std::vector<Prompt> prompts, const SamplingOptions& options,
             const TokenListener& listener)
      : model_(model),
        prompts_(std::move(prompts)),
        options_(options),
        listener_(listener),
        key_(rng_key(options.seed, kSamplePurpose, 0)),
        out_(prompts_.size()),
        slots_(static_cast<std::size_t>(model.limits().sequences)) {}

  std::vector<std::vector<std::int32_t>> run() {
    while (fill() > 0) {
      std::vector<InferenceModel::Feed> feeds;
      std::vector<std::size_t> fed;
      for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
        if (!slots_[slot]) continue;
        fed.push_back(slot);
        feeds.push_back(feed_of(slot));
      }
      const auto logits = model_.extend(feeds);
      const auto vocab = static_cast<std::size_t>(model_.vocab());
      for (std::size_t i = 0; i < fed.size(); ++i) {
        take(fed[i], logits.subspan(i * vocab, vocab));
      }
    }
    return std::move(out_);
  }

 private:
  // Feeds prompts into the free slots, each alone; returns how many sequences are unfinished.
  std::size_t fill() {
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
      while (!slots_[slot] && next_ < prompts_.size()) {
        begin(slot);
        const InferenceModel::Feed one[] = {feed_of(slot)};
        take(slot, model_.extend(one));
      }
    }
    return static_cast<std::size_t>(
        std::ranges::count_if(slots_, [](const auto& slot) { return slot.has_value(); }));
  }

  void begin(std::size_t slot) {
    Prompt& prompt = prompts_[next_];
    const std::int64_t size = std::ssize(prompt.tokens), most = model_.limits().new_tokens;
    FRUGAL_CHECK(prompt.cached == 0 || (prompts_.size() == 1 && prompt.cached < size),
                 "a prompt of which ", prompt.cached, " tokens are cached");
    Sequence& sequence = slots_[slot].emplace();
    sequence.prompt = next_++;
    sequence.tokens = std::move(prompt.tokens);
    sequence.fed = prompt.cached;
    if (prompt.cached == 0 && size > most) {
      sequence.tokens.erase(sequence.tokens.begin(), sequence.tokens.end() - most);
    }
    if (options_.repetition_penalty != 1.0) {
      sequence.seen.insert(sequence.tokens.begin(), sequence.tokens.end());
    }
  }

  InferenceModel::Feed feed_of(std::size_t slot) {
    Sequence& sequence = *slots_[slot];
    const std::int64_t begin = sequence.fed;
    sequence.fed = std::ssize(sequence.tokens);
    return {.sequence = static_cast<int>(slot),
            .begin = begin,
            .tokens = std::span(sequence.tokens).subspan(static_cast<std::size_t>(begin))};
  }

  // The next token of a slot's sequence, or its end.
  void take(std::size_t slot, std::span<const float> logits) {
    Sequence& sequence = *slots_[slot];
    if (options_.vocab_size > 0) {
      logits = logits.first(std::min(logits.size(), static_cast<std::size_t>(options_.vocab_size)));
    }
    std::vector<float> penalised;
    if (!sequence.seen.empty()) {
      penalised.assign(logits.begin(), logits.end());
      const auto penalty = static_cast<float>(options_.repetition_penalty);
      for (const std::int32_t id : sequence.seen) {
        if (static_cast<std::size_t>(id) >= penalised.size()) continue;
        float& logit = penalised[static_cast<std::size_t>(id)];
        logit = logit > 0 ? logit / penalty : logit * penalty;
      }
      logits = penalised;
    }
    const auto words = philox4x32(key_, sequence.prompt, static_cast<std::uint64_t>(sequence.made));
    const double uniform = static_cast<double>(words[0]) / 4294967296.0;
    const std::int32_t token = sample_token(logits, options_, uniform);
    if (std::ranges::find(options_.stop_tokens, token) != options_.stop_tokens.end()) {
      slots_[slot].reset();
      return;
    }
    sequence.tokens.push_back(token);
    if (options_.repetition_penalty != 1.0) sequence.seen.insert(token);
    out_[sequence.prompt].push_back(token);
    if (listener_) listener_(sequence.prompt, token);
    const bool full = std::ssize(sequence.tokens) > model_.limits().positions;
    if (++sequence.made == options_.max_new_tokens || full) slots_[slot].reset();
  }

  InferenceModel& model_;
  std::vector<Prompt> prompts_;
  const SamplingOptions& options_;
  const TokenListener& listener_;
  std::uint64_t key_;
  std::vector<std::vector<std::int32_t>> out_;
  std::vector<std::optional<Sequence>> slots_;
  std::size_t next_ = 0;
};

}  // namespace

std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::int32_t> out;
  if (const auto begin = tokenizer.begin_of_text()) out.push_back(*begin);
  tokenizer.encode(text, out);
  if (out.empty()) out.push_back(tokenizer.end_of_text());
  return out;
}

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          double uniform) {
  const auto best = std::ranges::max_element(logits);  // the first of equals
  const auto is_nan = [](float logit) { return std::isnan(logit); };
  if (!std::isfinite(*best) || std::ranges::any_of(logits, is_nan)) {
    fail(ErrorKind::kDiverged,
         "the model's logits are not numbers: it has diverged, or its weights "
         "are damaged");
  }
  if (options.temperature <= 0) return static_cast<std::int32_t>(best - logits.begin());
  const double largest = *best;
  const auto weight = [&](std::int32_t id) {
    return std::exp((logits[static_cast<std::size_t>(id)] - largest) / options.temperature);
  };
  Candidates candidates(logits);
  if (options.top_k > 0) candidates.keep_best(static_cast<std::size_t>(options.top_k));
  if (options.top_p < 1.0) candidates.keep_share(options.top_p, weight);
  const auto& kept = candidates.in_order();
  double sum = 0;
  for (const std::int32_t id : kept) sum += weight(id);
  double left = uniform * sum;
  for (std::size_t i = 0; i + 1 < kept.size(); ++i) {
    left -= weight(kept[i]);
    if (left < 0) return kept[i];
  }
  return kept.back();
}

std::vector<std::vector<std::int32_t>> generate(InferenceModel& model, std::vector<Prompt> prompts,
                                                const SamplingOptions& options,
                                                const TokenListener& listener) {
  return Generation(model, std::move(prompts), options, listener).run();
}

}  // namespace frugal
