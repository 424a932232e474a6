// Times whole training steps of GPT-2 124M on one rank: forward, backward, gradient norm, AdamW.
// One line per timed step ("step SECONDS"), then the median and its tokens per second.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "comm/world.h"
#include "kernels/core/rng.h"
#include "kernels/core/threads.h"
#include "trainer/engine/rank_model.h"

namespace frugal {
namespace {

struct Options {
  std::string precision = "fp32";
  int sequences = 4, length = 64, steps = 10, warmup = 2, threads = 2;
};

Options parse(int argc, char** argv) {
  Options out;
  CLI::App app("GPT-2 124M training steps on one rank");
  app.add_option("--precision", out.precision)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--batch", out.sequences, "sequences a step");
  app.add_option("--length", out.length, "tokens of a sequence");
  app.add_option("--steps", out.steps, "timed steps")->check(CLI::PositiveNumber);
  app.add_option("--warmup", out.warmup, "steps before them");
  app.add_option("--threads", out.threads);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return out;
}

Config gpt2_124m(const Options& options) {
  Config config;
  config.model.model_type = "gpt2";
  config.model.hidden_size = 768;
  config.model.intermediate_size = 3072;
  config.model.num_hidden_layers = 12;
  config.model.num_attention_heads = config.model.num_key_value_heads = 12;
  config.model.head_dim = 64;
  config.model.vocab_size = 50257;
  config.model.max_position_embeddings = 1024;
  config.model.tie_word_embeddings = true;
  config.data.sequence_length = options.length;
  config.batch = {.micro_batch_size = options.sequences, .global_batch_size = options.sequences};
  config.precision.compute = options.precision;
  config.parallelism.data = 1;
  return config;
}

// A new batch of random tokens for every step.
class RandomTokens {
 public:
  explicit RandomTokens(const Options& options)
      : inputs_(static_cast<std::size_t>(options.sequences * options.length)), targets_(inputs_) {}
  HostMicrobatch draw(std::uint64_t step) {
    for (std::size_t t = 0; t < inputs_.size(); ++t) {
      const auto words = philox4x32(1, step, t);
      inputs_[t] = static_cast<std::int32_t>(words[0] % 50257);
      targets_[t] = static_cast<std::int32_t>(words[1] % 50257);
    }
    return {inputs_, targets_, {}};
  }

 private:
  std::vector<std::int32_t> inputs_, targets_;
};

void run(const Options& options, std::unique_ptr<ProcessGroup> group) {
  set_compute_threads(options.threads);
  DeviceMesh mesh(std::move(group), {});
  RankModel model(gpt2_124m(options), mesh);
  model.initialize(1);
  RandomTokens tokens(options);
  std::vector<double> seconds;
  float loss = 0.0F;
  for (int step = -options.warmup; step < options.steps; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    const int update = step + options.warmup + 1;
    loss = model
               .train_step(update, 1e-4F,
                           [&](int) { return tokens.draw(static_cast<std::uint64_t>(update)); })
               .loss;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    if (step < 0) continue;
    seconds.push_back(elapsed.count());
    std::cout << "step " << elapsed.count() << std::endl;
  }
  std::nth_element(seconds.begin(), seconds.begin() + options.steps / 2, seconds.end());
  const double median = seconds[seconds.size() / 2];
  std::cout << options.precision << " B=" << options.sequences << " T=" << options.length
            << " median " << median << " s/step, " << options.sequences * options.length / median
            << " tokens/s, last loss " << loss << std::endl;
}

}  // namespace
}  // namespace frugal

int main(int argc, char** argv) {
  const auto world = frugal::make_world(&argc, &argv);
  frugal::run(frugal::parse(argc, argv), world->group());
}
