#include <memory>

#include "fmt/format.h"
#include "kernels/core/threads.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/text_io.h"
#include "trainer/data/token_shards.h"

namespace frugal::cli {
namespace {

void add_build(CLI::App& app, Run& run) {
  struct Options {
    std::vector<std::string> input;
    DataBuildOptions build;
  };
  auto o = std::make_shared<Options>();
  o->build.threads = available_cores();
  o->build.progress = progress_line;
  auto* command = app.add_subcommand("build", "Turn text files into token shards");
  command->add_option("--input", o->input, "text files, each at least one document")->required();
  command->add_option("--tokenizer", o->build.tokenizer_dir, "folder with tokenizer.json")
      ->required();
  command->add_option("--output", o->build.output_dir, "folder that gets train and validation")
      ->required();
  command->add_option("--validation-fraction", o->build.validation_fraction, "share of the text")
      ->check(CLI::Range(0.0, 0.9));
  command->add_option("--threads", o->build.threads)->check(CLI::Range(1, 1024));
  command->callback([&run, o] {
    run = alone([o] {
      build_token_shards(o->input, o->build);
      return 0;
    });
  });
}

int inspect(const std::string& dir, bool verify) {
  const TokenShards shards = TokenShards::open(dir);
  fmt::print("tokens      {}\ndocuments   {}\ntext bytes  {}\nvocabulary  {}\n", shards.tokens(),
             shards.documents(), shards.text_bytes(), shards.vocab_size());
  fmt::print("tokenizer   {}\ndigest      {}\n", shards.tokenizer_digest(), shards.digest());
  if (verify) {
    shards.verify();
    fmt::print("every checksum holds\n");
  }
  return 0;
}

}  // namespace

void add_data(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand("data", "Prepare training data");
  command->require_subcommand(1);
  add_build(*command, run);
  auto* look = command->add_subcommand("inspect", "What a folder of token shards holds");
  auto dir = std::make_shared<std::string>();
  auto verify = std::make_shared<bool>(false);
  look->add_option("dir", *dir, "folder of token shards")->required();
  look->add_flag("--verify", *verify, "read everything and compare the checksums");
  look->callback(
      [&run, dir, verify] { run = alone([dir, verify] { return inspect(*dir, *verify); }); });
}

}  // namespace frugal::cli
