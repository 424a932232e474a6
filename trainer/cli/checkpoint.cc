#include "trainer/checkpoint/checkpoint.h"

#include <filesystem>
#include <map>
#include <memory>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "trainer/checkpoint/export.h"
#include "trainer/checkpoint/weight_set.h"
#include "trainer/cli/commands.h"
#include "trainer/config/config.h"
#include "trainer/engine/load_tokenizer.h"

namespace frugal::cli {

std::string step_folder(const std::string& path) {
  for (const std::string& root : {path, path + "/checkpoints"}) {
    const auto found = list_checkpoints(root);
    if (!found.empty()) return found.front();
  }
  return path;
}

namespace {

// Weights with the words of another tokenizer would be nonsense to whoever loads them.
void check_tokenizer(const CheckpointInfo& info, const std::string& path) {
  if (!std::filesystem::exists(path)) return;  // the export says so
  const auto digest = info.identity.find("tokenizer");
  if (digest == info.identity.end() || load_tokenizer(path).digest() == digest->second) return;
  fail(ErrorKind::kData, path,
       ": is another tokenizer than the one of the training; bring that one back, or start this "
       "command where the run was started");
}

void add_export(CLI::App& command, Run& run) {
  auto source = std::make_shared<std::string>();
  auto options = std::make_shared<ExportOptions>();
  auto* sub = command.add_subcommand("export", "Write the weights for other programs");
  sub->add_option("source", *source, "a step-... folder, or a run folder: its newest")->required();
  const std::map<std::string, WeightFormat> formats{{"hf", WeightFormat::kHuggingFace},
                                                    {"gguf", WeightFormat::kGguf},
                                                    {"peft", WeightFormat::kPeft}};
  sub->add_option("--format", options->format,
                  "hf: a folder for transformers; gguf: a file; peft: a LoRA run's adapters alone, "
                  "which the others merge")
      ->required()
      ->transform(CLI::CheckedTransformer(formats).description("hf|gguf|peft"));
  sub->add_option("--output", options->output, "what to make; it must not exist")->required();
  sub->add_option("--dtype", options->dtype,
                  "bf16, f16, f32, for gguf also q8_0; unless given, that of the weights that the "
                  "run began with");
  sub->add_option("--base", options->base,
                  "of a LoRA run: its base model, where it lies no more where it did");
  sub->add_option("--max-shard-bytes", options->max_shard_bytes, "hf: of one file of weights")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  sub->callback([&run, source, options] {
    run = alone([source, options] {
      const CheckpointReader reader(step_folder(*source));
      ExportOptions whole = *options;
      const Config config = parse_config(reader.info().config, reader.directory(), {});
      if (config.lora.rank > 0 && whole.format != WeightFormat::kPeft) {  // before its tokenizer
        open_base(reader, whole.base.empty() ? config.model.init_from : whole.base);
      }
      const bool moved = !whole.base.empty() && config.tokenizer.path == config.model.init_from;
      const std::string& tokenizer = moved ? whole.base : config.tokenizer.path;
      if (whole.format != WeightFormat::kPeft) {  // that has none
        check_tokenizer(reader.info(), tokenizer);
        if (tokenizer.ends_with(".gguf")) whole.tokenizer = gguf_tokenizer_files(tokenizer);
      }
      fmt::print("{}\n", export_checkpoint(reader, whole));
      return 0;
    });
  });
}

}  // namespace

void add_checkpoint(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand("checkpoint", "Look at checkpoints, and export them");
  command->require_subcommand(1);
  auto dir = std::make_shared<std::string>();
  auto* inspect = command->add_subcommand("inspect", "What a checkpoint holds");
  auto* verify = command->add_subcommand("verify", "Read everything and compare the checksums");
  for (auto* sub : {inspect, verify}) {
    sub->add_option("dir", *dir, "a step-... folder, or a run folder: its newest")->required();
  }
  inspect->callback([&run, dir] {
    run = alone([dir] {
      fmt::print("{}", describe_checkpoint(CheckpointReader(step_folder(*dir))));
      return 0;
    });
  });
  verify->callback([&run, dir] {
    run = alone([dir] {
      const CheckpointReader reader(step_folder(*dir));
      reader.verify();
      fmt::print("{}: every checksum holds\n", reader.directory());
      return 0;
    });
  });
  add_export(*command, run);
}

}  // namespace frugal::cli
