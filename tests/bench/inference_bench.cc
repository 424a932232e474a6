// Generation on the CPU beside its limits: a token at a time against the memory's speed, a prompt
// against the forward pass of training. The shape of SmolLM2-135M, random weights. Contenders take
// turns; medians.
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "comm/lone_world.h"
#include "fmt/format.h"
#include "kernels/core/threads.h"
#include "tests/bench/ceiling.h"
#include "tests/bench/timing.h"
#include "trainer/engine/rank_model.h"
#include "trainer/metrics/flops.h"

namespace frugal {
namespace {

using bench::median;
using bench::seconds_of;

Config config_of(const std::string& precision, int length) {
  Config config;
  config.model.hidden_size = 576;
  config.model.intermediate_size = 1536;
  config.model.num_hidden_layers = 30;
  config.model.num_attention_heads = 9;
  config.model.num_key_value_heads = 3;
  config.model.vocab_size = 49152;
  config.model.max_position_embeddings = 2 * length;
  config.model.tie_word_embeddings = true;
  config.tokenizer.path = "none";
  config.data.sequence_length = length;
  config.batch = {.micro_batch_size = 1, .global_batch_size = 1};
  config.precision.compute = precision;
  config.eval.batches = 1;
  config.sample = {.interval = 1,
                   .prompts = {std::string(static_cast<std::size_t>(length), 'a')},
                   .max_new_tokens = length};
  resolve_config(config, 1);
  return config;
}

void run(const std::string& precision, int length, int rounds) {
  constexpr int kDecoded = 32;
  const Config config = config_of(precision, length);
  DeviceMesh mesh(make_lone_world()->group(), {});
  RankModel model(config, mesh);
  model.initialize(1);
  InferenceModel& inference = model.inference();
  const auto tokens = static_cast<std::size_t>(length);
  std::vector<std::int32_t> prompt(tokens), targets(tokens, 7);
  for (std::size_t t = 0; t < tokens; ++t) prompt[t] = static_cast<std::int32_t>(t * 7919 % 49152);
  const BatchSource batches = [&](int) { return HostMicrobatch{prompt, targets, {}}; };
  const InferenceModel::Feed whole[] = {{.sequence = 0, .begin = 0, .tokens = prompt}};
  std::vector<double> prefill, decode, forward, reading;
  for (int round = 0; round <= rounds; ++round) {  // the first one warms up
    const double p = seconds_of([&] { inference.extend(whole); });
    const double d = seconds_of([&] {
      for (int n = 0; n < kDecoded; ++n) {
        const InferenceModel::Feed next[] = {
            {.sequence = 0, .begin = length + n, .tokens = std::span(prompt).first(1)}};
        inference.extend(next);
      }
    });
    const double f = seconds_of([&] { model.evaluate(batches); });
    const double r = bench::read_bytes_per_second();
    if (round == 0) continue;
    prefill.push_back(p);
    decode.push_back(d / kDecoded);
    forward.push_back(f);
    reading.push_back(r);
  }
  const double parameters = static_cast<double>(parameter_count(config.model));
  const double cached = 2.0 * 30 * 192 * 1.03 * length;  // keys and values that a token reads
  const double bytes = (parameters + cached) * (precision == "fp32" ? 4 : 2);
  // The head runs for one token of a prompt and for all of an evaluation.
  const double head = 49152.0 * 576;
  const double prompt_flops = 2 * ((parameters - head) * length + head);
  const double forward_flops = 2 * parameters * length;
  fmt::print("{} {} threads, {} tokens\n", precision, compute_threads(), length);
  fmt::print("decode   {:.1f} tok/s, {:.2f} GB/s of {:.2f} GB/s read: {:.2f}\n", 1 / median(decode),
             bytes / median(decode) * 1e-9, median(reading) * 1e-9,
             bytes / median(decode) / median(reading));
  fmt::print("prefill  {:.0f} tok/s, {:.1f} GFLOP/s; forward of training {:.1f} GFLOP/s: {:.2f}\n",
             length / median(prefill), prompt_flops / median(prefill) * 1e-9,
             forward_flops / median(forward) * 1e-9,
             prompt_flops / median(prefill) / (forward_flops / median(forward)));
}

}  // namespace
}  // namespace frugal

int main(int argc, char** argv) {
  std::string precision = "bf16";
  int length = 512, rounds = 5, threads = 2;
  CLI::App app("Generation of a 135M model beside its limits");
  app.add_option("--precision", precision)->check(CLI::IsMember({"fp32", "bf16", "fp16"}));
  app.add_option("--length", length, "tokens of the prompt");
  app.add_option("--rounds", rounds);
  app.add_option("--threads", threads);
  CLI11_PARSE(app, argc, argv);
  frugal::bench::set_threads(threads);
  frugal::set_compute_threads(threads);
  frugal::run(precision, length, rounds);
}
