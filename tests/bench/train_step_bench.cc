// Times whole training steps of a known model's shape on one rank: forward, backward, gradient
// norm, AdamW. One line per timed step ("step SECONDS"), then the median and its tokens per second;
// with
// --json one JSON object instead.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "comm/world.h"
#include "fmt/format.h"
#include "kernels/core/device_runtime.h"
#include "kernels/core/rng.h"
#include "kernels/core/threads.h"
#include "trainer/engine/rank_model.h"
#include "trainer/engine/rank_place.h"
#include "trainer/metrics/flops.h"
#include "trainer/optim/loss_scale.h"

namespace frugal {
namespace {

struct Options {
  std::string model = "gpt2-124m", precision = "fp32", device = "cpu", recompute = "none";
  int sequences = 4, micro = 0, length = 64, layers = 0, steps = 10, warmup = 2, threads = 2;
  bool graph = true, json = false;
};

struct Model {
  const char* name;
  const char* family;
  int width, inner, layers, heads, kv_heads, vocabulary;
  bool tied;
};
constexpr Model kModels[] = {
    {"gpt2-124m", "gpt2", 768, 3072, 12, 12, 12, 50257, true},
    {"gpt2-1558m", "gpt2", 1600, 6400, 48, 25, 25, 50257, true},
    {"qwen2.5-1.5b", "qwen2", 1536, 8960, 28, 12, 2, 151936, true},
    {"llama-3-8b", "llama", 4096, 14336, 32, 32, 8, 128256, false},
};

Options parse(int argc, char** argv) {
  Options out;
  std::vector<std::string> names;
  for (const Model& model : kModels) names.emplace_back(model.name);
  CLI::App app("Training steps of a model's shape on one rank, on random tokens");
  app.add_option("--model", out.model)->check(CLI::IsMember(names));
  app.add_option("--precision", out.precision)->check(CLI::IsMember({"fp32", "bf16", "fp16"}));
  app.add_option("--device", out.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--batch", out.sequences, "sequences a step");
  app.add_option("--micro-batch", out.micro, "of them at a time; all by default");
  app.add_option("--length", out.length, "tokens of a sequence");
  app.add_option("--layers", out.layers, "instead of the model's own");
  app.add_option("--recompute", out.recompute)->check(CLI::IsMember({"none", "full"}));
  app.add_option("--graph", out.graph, "0: op by op");
  app.add_option("--steps", out.steps, "timed steps")->check(CLI::PositiveNumber);
  app.add_option("--warmup", out.warmup, "steps before them");
  app.add_option("--threads", out.threads);
  app.add_flag("--json", out.json);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  if (out.micro == 0) out.micro = out.sequences;
  return out;
}

Config config_of(const Options& options) {
  const Model& m = *std::ranges::find(kModels, options.model, &Model::name);
  Config config;
  config.device = options.device;
  config.model.model_type = m.family;
  config.model.hidden_size = m.width;
  config.model.intermediate_size = m.inner;
  config.model.num_hidden_layers = options.layers > 0 ? options.layers : m.layers;
  config.model.num_attention_heads = m.heads;
  config.model.num_key_value_heads = m.kv_heads;
  config.model.head_dim = m.width / m.heads;
  config.model.vocab_size = m.vocabulary;
  config.model.max_position_embeddings = options.length;
  config.model.tie_word_embeddings = m.tied;
  config.data.sequence_length = options.length;
  config.batch = {.micro_batch_size = options.micro, .global_batch_size = options.sequences};
  config.precision.compute = options.precision;
  config.memory.recompute = options.recompute;
  config.train.cuda_graph = options.graph;
  config.parallelism.data = 1;
  config.train.lanes = 1;
  return config;
}

// New random tokens for every step, of all its micro-batches.
class RandomTokens {
 public:
  RandomTokens(int microbatches, int tokens, int vocabulary)
      : vocabulary_(static_cast<std::uint32_t>(vocabulary)),
        tokens_(static_cast<std::size_t>(tokens)),
        inputs_(tokens_ * static_cast<std::size_t>(microbatches)),
        targets_(inputs_) {}
  void draw(std::uint64_t step) {
    for (std::size_t t = 0; t < inputs_.size(); ++t) {
      const auto words = philox4x32(1, step, t);
      inputs_[t] = static_cast<std::int32_t>(words[0] % vocabulary_);
      targets_[t] = static_cast<std::int32_t>(words[1] % vocabulary_);
    }
  }
  HostMicrobatch of(int microbatch) const {
    const std::size_t begin = tokens_ * static_cast<std::size_t>(microbatch);
    return {std::span(inputs_).subspan(begin, tokens_),
            std::span(targets_).subspan(begin, tokens_),
            {}};
  }

 private:
  std::uint32_t vocabulary_;
  std::size_t tokens_;
  std::vector<std::int32_t> inputs_, targets_;
};

using Clock = std::chrono::steady_clock;
double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void run(const Options& options, std::unique_ptr<ProcessGroup> group) {
  const auto start = Clock::now();
  set_compute_threads(options.threads);
  const Config config = config_of(options);
  const Device device = rank_device(config, {});
  DeviceMesh mesh(std::move(group), {});
  const MemoryPlan plan = RankModel::plan(config, 0, device);
  AlgorithmChoices choices;
  cu::choose_algorithms(device, plan.products, choices);
  RankModel model(config, mesh, device);
  model.initialize(1);
  RandomTokens tokens(options.sequences / options.micro, options.micro * options.length,
                      *config.model.vocab_size);
  std::vector<double> seconds;
  float loss = 0.0F;
  float loss_scale = first_loss_scale(config.precision).value;
  double first_step = 0;
  for (int step = -options.warmup; step < options.steps; ++step) {
    const int update = step + options.warmup + 1;
    tokens.draw(static_cast<std::uint64_t>(update));
    const auto begin = Clock::now();
    const StepResult result =
        model.train_step(update, 1e-4F, loss_scale, [&](int m) { return tokens.of(m); });
    loss = result.loss;
    if (result.skipped) loss_scale /= 2.0F;
    const double elapsed = since(begin);
    if (update == 1) first_step = since(start);
    if (step < 0) continue;
    seconds.push_back(elapsed);
    if (!options.json) std::cout << "step " << elapsed << std::endl;
  }
  std::size_t used = 0;  // of a GPU, the driver's own included
  if (!on_host(device)) {
    const DeviceInfo info = device_runtime(device.type).info(device);
    used = info.memory_bytes - info.free_bytes;
  }
  std::ranges::sort(seconds);
  const auto quantile = [&](double q) {
    return seconds[static_cast<std::size_t>(
        std::lround(q * static_cast<double>(seconds.size() - 1)))];
  };
  const double rate = options.sequences * options.length / quantile(0.5);
  if (!options.json) {
    std::cout << options.precision << " B=" << options.sequences << " T=" << options.length
              << " median " << quantile(0.5) << " s/step, " << rate << " tokens/s, last loss "
              << loss << std::endl;
    return;
  }
  fmt::print(R"({{"model": "{}", "layers": {}, "precision": "{}", "batch": {}, "micro_batch": {}, )"
             R"("length": {}, "graph": {}, "median_s": {:.5g}, "p10_s": {:.5g}, "p90_s": {:.5g}, )"
             R"("tokens_per_s": {:.5g}, "flops": {:.5g}, "plan_bytes": {}, "used_bytes": {}, )"
             R"("first_step_s": {:.3g}, "loss": {}}})"
             "\n",
             options.model, config.model.num_hidden_layers, options.precision, options.sequences,
             options.micro, options.length, options.graph, quantile(0.5), quantile(0.1),
             quantile(0.9), rate,
             rate * training_flops_per_token(config.model, config.lora, options.length),
             plan.total(), used, first_step, loss);
}

}  // namespace
}  // namespace frugal

int main(int argc, char** argv) {
  const auto world = frugal::make_world(&argc, &argv);
  try {
    frugal::run(frugal::parse(argc, argv), world->group());
  } catch (const frugal::Error& error) {
    std::cerr << "train_step_bench: " << error.what() << "\n";
    return static_cast<int>(error.kind());
  }
}
