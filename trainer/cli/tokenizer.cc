#include <memory>
#include <sstream>

#include "fmt/format.h"
#include "kernels/core/threads.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/text_io.h"
#include "trainer/data/tokenizer.h"
#include "trainer/engine/load_tokenizer.h"

namespace frugal::cli {
namespace {

void add_tokenizer_train(CLI::App& app, Run& run) {
  struct Options {
    std::vector<std::string> input;
    std::string output;
    int vocab_size = 4096;
    int threads = available_cores();
  };
  auto o = std::make_shared<Options>();
  auto* command = app.add_subcommand("train", "Learn a byte-level BPE vocabulary from text files");
  command->add_option("--input", o->input, "text files")->required();
  command->add_option("--output", o->output, "folder that gets tokenizer.json")->required();
  command->add_option("--vocab-size", o->vocab_size, "tokens, bytes and <|endoftext|> included")
      ->check(CLI::Range(257, 1 << 20));
  command->add_option("--threads", o->threads)->check(CLI::Range(1, 1024));
  command->callback([&run, o] {
    run = alone([o] {
      train_tokenizer(
          o->input, o->output,
          {.vocab_size = o->vocab_size, .threads = o->threads, .progress = progress_line});
      fmt::print("{}/tokenizer.json: {} tokens\n", o->output,
                 Tokenizer::load(o->output).vocab_size());
      return 0;
    });
  });
}

struct CodecOptions {
  std::string tokenizer, input = "-";
};

std::shared_ptr<CodecOptions> add_codec_options(CLI::App& command, const char* what) {
  auto o = std::make_shared<CodecOptions>();
  command.add_option("--tokenizer", o->tokenizer, "folder with tokenizer.json, or a GGUF file")
      ->required();
  command.add_option("--input", o->input, what);
  return o;
}

int encode(const CodecOptions& o) {
  std::vector<std::int32_t> ids;
  load_tokenizer(o.tokenizer).encode(read_text(o.input), ids);
  fmt::print("{}\n", fmt::join(ids, " "));
  return 0;
}

int decode(const CodecOptions& o) {
  std::istringstream words(read_text(o.input));
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; words >> id;) ids.push_back(id);
  if (!words.eof())
    fail(ErrorKind::kData, o.input, ": word ", ids.size() + 1, " is not a token id");
  fmt::print("{}", load_tokenizer(o.tokenizer).decode(ids));
  return 0;
}

}  // namespace

void add_tokenizer(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand("tokenizer", "Train and run tokenizers");
  command->require_subcommand(1);
  add_tokenizer_train(*command, run);
  auto* to_ids = command->add_subcommand("encode", "Text to token ids");
  auto encode_options = add_codec_options(*to_ids, "text file; - is standard input");
  to_ids->callback([&run, encode_options] {
    run = alone([encode_options] { return encode(*encode_options); });
  });
  auto* to_text = command->add_subcommand("decode", "Token ids to text");
  auto decode_options = add_codec_options(*to_text, "file of token ids; - is standard input");
  to_text->callback([&run, decode_options] {
    run = alone([decode_options] { return decode(*decode_options); });
  });
}

}  // namespace frugal::cli
