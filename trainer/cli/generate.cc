#include "trainer/engine/generate.h"

#include <memory>

#include "comm/lone_world.h"
#include "fmt/format.h"
#include "kernels/core/threads.h"
#include "trainer/cli/commands.h"
#include "trainer/data/tokenizer.h"
#include "trainer/engine/checkpointing.h"
#include "trainer/engine/rank_place.h"
#include "trainer/metrics/printable_text.h"

namespace frugal::cli {
namespace {

struct GenerateOptions {
  std::string checkpoint, prompt, tokenizer;
  SamplingOptions sampling;
};

// The saved run on one rank, one sequence at a time.
Config lone_config(const CheckpointReader& reader) {
  Config config = parse_config(reader.info().config, reader.directory() + "/config of the run", {});
  config.device = "auto";
  config.parallelism = {.data = 1};
  config.batch = {.micro_batch_size = 1, .global_batch_size = 1};
  config.train.lanes = 1;
  config.eval.batches = 1;
  resolve_config(config, 1);
  if (!config.model.vocab_size) {
    fail(ErrorKind::kData, reader.directory(), ": its config does not say model.vocab_size");
  }
  return config;
}

int run_generate(const GenerateOptions& options) {
  const CheckpointReader reader(step_folder(options.checkpoint));
  const Config config = lone_config(reader);
  const Tokenizer tokenizer =
      Tokenizer::load(options.tokenizer.empty() ? config.tokenizer.path : options.tokenizer);
  const auto& identity = reader.info().identity;
  const auto trained_with = identity.find("tokenizer");
  if (trained_with == identity.end() || tokenizer.digest() != trained_with->second) {
    fail(ErrorKind::kData, reader.directory(),
         ": was trained with another tokenizer; name its folder with --tokenizer");
  }
  set_compute_threads(available_cores());
  DeviceMesh mesh(make_lone_world()->group(), {});
  const Device device = rank_device(config, {});
  RankModel model(config, mesh, unable(config, device).empty() ? device : Device{});
  load_checkpoint(reader, model);
  std::vector<std::int32_t> prompt;
  if (options.prompt.empty()) prompt.push_back(tokenizer.end_of_text());
  tokenizer.encode(options.prompt, prompt);
  SamplingOptions sampling = options.sampling;
  sampling.end_of_text = tokenizer.end_of_text();
  const auto texts = generate(model, {prompt}, sampling);
  fmt::print("{}{}\n", options.prompt, printable_text(tokenizer.decode(texts.front())));
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Run& run) {
  auto o = std::make_shared<GenerateOptions>();
  auto* command = app.add_subcommand("generate", "Continue a text with a trained model");
  command->add_option("--checkpoint", o->checkpoint, "a step-... folder, or a run folder")
      ->required();
  command->add_option("--prompt", o->prompt, "the text to continue");
  command->add_option("--tokenizer", o->tokenizer, "folder; default: that of the training");
  command->add_option("--max-new-tokens", o->sampling.max_new_tokens)
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--temperature", o->sampling.temperature, "0: the most likely token")
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-k", o->sampling.top_k, "0: all")->check(CLI::Range(0, 1 << 30));
  command->add_option("--top-p", o->sampling.top_p)->check(CLI::Range(0.0, 1.0));
  command->add_option("--seed", o->sampling.seed);
  command->callback([&run, o] { run = alone([o] { return run_generate(*o); }); });
}

}  // namespace frugal::cli
