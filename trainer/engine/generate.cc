#include "trainer/engine/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/core/rng.h"

namespace frugal {
namespace {

constexpr std::uint64_t kSamplePurpose = 3;  // rng_key: tokens of generated text

double uniform_at(std::uint64_t key, std::size_t sequence, std::int64_t position) {
  const auto words = philox4x32(key, sequence, static_cast<std::uint64_t>(position));
  return static_cast<double>(words[0]) / 4294967296.0;
}

// The last tokens that fit the window.
std::vector<std::int32_t> window(const std::vector<std::int32_t>& tokens, int length) {
  const auto size = std::min<std::ptrdiff_t>(std::ssize(tokens), length);
  return {tokens.end() - size, tokens.end()};
}

}  // namespace

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          double uniform) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::ranges::greater{},
                           [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; });
  if (options.temperature <= 0) return order.front();
  std::size_t kept = order.size();
  if (options.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(options.top_k));
  const double largest = logits[static_cast<std::size_t>(order.front())];
  std::vector<double> weights;
  for (std::size_t i = 0; i < kept; ++i) {
    weights.push_back(
        std::exp((logits[static_cast<std::size_t>(order[i])] - largest) / options.temperature));
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  double inside = 0;
  std::size_t nucleus = 0;
  while (nucleus < kept && inside < options.top_p * sum) inside += weights[nucleus++];
  double left = uniform * inside;
  for (std::size_t i = 0; i + 1 < nucleus; ++i) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order[std::max<std::size_t>(nucleus, 1) - 1];
}

std::vector<std::vector<std::int32_t>> generate(RankModel& model,
                                                std::vector<std::vector<std::int32_t>> prompts,
                                                const SamplingOptions& options) {
  const auto rows = static_cast<std::size_t>(model.config().batch.micro_batch_size);
  const int length = model.config().data.sequence_length;
  const std::uint64_t key = rng_key(options.seed, kSamplePurpose, 0);
  std::vector<std::vector<std::int32_t>> out(prompts.size());
  for (std::size_t first = 0; first < prompts.size(); first += rows) {
    std::vector<std::size_t> active(std::min(rows, prompts.size() - first));
    std::iota(active.begin(), active.end(), first);
    for (int n = 0; n < options.max_new_tokens && !active.empty(); ++n) {
      std::vector<std::vector<std::int32_t>> windows;
      for (const std::size_t i : active) windows.push_back(window(prompts[i], length));
      const auto logits = model.next_token_logits(windows);
      std::vector<std::size_t> unfinished;
      for (std::size_t a = 0; a < active.size(); ++a) {
        const std::size_t i = active[a];
        const std::int32_t token = sample_token(logits[a], options, uniform_at(key, i, n));
        if (token == options.end_of_text) continue;
        prompts[i].push_back(token);
        out[i].push_back(token);
        unfinished.push_back(i);
      }
      active = std::move(unfinished);
    }
  }
  return out;
}

}  // namespace frugal
