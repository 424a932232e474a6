#include <unistd.h>

#include <memory>

#include "fmt/format.h"
#include "kernels/core/threads.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/text_io.h"
#include "trainer/data/chat_shards.h"
#include "trainer/data/token_shards.h"
#include "trainer/data/tokenizer.h"
#include "trainer/engine/load_tokenizer.h"
#include "trainer/metrics/printable_text.h"

namespace frugal::cli {
namespace {

struct BuildOptions {
  std::vector<std::string> input;
  std::string tokenizer, format = "text", chat_format;
  int sequence_length = 0;
  DataBuildOptions text;
};

int build_chat(const BuildOptions& o) {
  const ChatBuildReport made =
      build_chat_shards(o.input, load_tokenizer(o.tokenizer),
                        {.output_dir = o.text.output_dir,
                         .kind = o.format == "chat" ? SampleKind::kChat : SampleKind::kInstruction,
                         .chat_format = o.chat_format,
                         .sequence_length = o.sequence_length,
                         .validation_fraction = o.text.validation_fraction,
                         .progress = progress_line});
  fmt::print("{} samples as {}, {} tokens, {} of them in answers, packed into {} sequences of {}\n",
             made.samples, made.chat_format, made.tokens, made.learned, made.sequences,
             o.sequence_length);
  if (made.too_long > 0) {
    fmt::print(
        "{} samples left out: longer than {} tokens; a larger --sequence-length keeps them\n",
        made.too_long, o.sequence_length);
  }
  return 0;
}

int build(const BuildOptions& o) {
  if (o.format != "text") {
    if (o.sequence_length > 0) return build_chat(o);
    fail(
        ErrorKind::kUsage, "data build: --format ", o.format,
        " needs --sequence-length, the data.sequence_length of the run: samples are packed for it");
  }
  if (o.sequence_length > 0 || !o.chat_format.empty()) {
    fail(ErrorKind::kUsage, "data build: --sequence-length and --chat-format belong to --format ",
         "chat and instruction");
  }
  build_token_shards(o.input, load_tokenizer(o.tokenizer), o.text);
  return 0;
}

void add_build(CLI::App& app, Run& run) {
  auto o = std::make_shared<BuildOptions>();
  o->text.threads = available_cores();
  o->text.progress = progress_line;
  auto* command = app.add_subcommand("build", "Turn text or conversations into token shards");
  command->add_option("--input", o->input, "files, each of text at least one document")->required();
  command->add_option("--tokenizer", o->tokenizer, "folder with tokenizer.json, or a GGUF file")
      ->required();
  command->add_option("--output", o->text.output_dir, "folder that gets train and validation")
      ->required();
  command
      ->add_option("--format", o->format,
                   "text, or JSONL: chat has messages, instruction has instruction, input, output")
      ->check(CLI::IsMember({"text", "chat", "instruction"}));
  command->add_option("--sequence-length", o->sequence_length, "tokens, for chat and instruction")
      ->check(CLI::Range(2, 1 << 24));
  command->add_option("--chat-format", o->chat_format,
                      "chatml, llama3, deepseek-v2 or deepseek-v3; else what the tokenizer has");
  command->add_option("--validation-fraction", o->text.validation_fraction, "share of the text")
      ->check(CLI::Range(0.0, 0.9));
  command->add_option("--threads", o->text.threads, "for text")->check(CLI::Range(1, 1024));
  command->callback([&run, o] { run = alone([o] { return build(*o); }); });
}

struct InspectOptions {
  std::string dir, tokenizer;
  std::int64_t sample = -1;
  bool verify = false;
};

// A document, what is learned of it in green on a terminal, else in brackets.
void print_sample(const TokenShards& shards, const InspectOptions& o) {
  const Tokenizer tokenizer = load_tokenizer(o.tokenizer);
  if (tokenizer.digest() != shards.tokenizer_digest()) {
    fail(ErrorKind::kData, o.dir, ": made with another tokenizer than ", o.tokenizer);
  }
  if (o.sample >= shards.documents()) {
    fail(ErrorKind::kUsage, "data inspect: --sample is ", o.sample, ", but ", o.dir, " has ",
         shards.documents(), " documents");
  }
  const auto [begin, end] = shards.document(o.sample);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(end - begin));
  std::vector<bool> learned(ids.size());
  shards.read(begin, ids);
  if (shards.packed_length() > 0) {
    shards.read_learned(begin, learned);
    while (!learned.back() && ids.back() == tokenizer.end_of_text() && ids.size() > 1) {
      ids.pop_back();  // what fills the sequence up
      learned.pop_back();
    }
  }
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  const char* const marks[] = {terminal ? "\x1b[0m" : "]", terminal ? "\x1b[32m" : "["};
  bool marked = false;
  std::string text;
  for (std::size_t begin = 0, end = 0; begin < ids.size(); begin = end) {
    while (end < ids.size() && learned[end] == learned[begin]) ++end;
    if (learned[begin] != marked) text += marks[marked ? 0 : 1];
    marked = learned[begin];
    // As a whole: tokens may be parts of characters.
    text += printable_text(tokenizer.decode(std::span(ids).subspan(begin, end - begin)));
  }
  if (marked) text += marks[0];
  fmt::print("{}\n", text);
}

int inspect(const InspectOptions& o) {
  const TokenShards shards = TokenShards::open(o.dir);
  if (o.sample >= 0) {
    if (o.tokenizer.empty()) {
      fail(ErrorKind::kUsage,
           "data inspect: --sample needs --tokenizer, the folder of the "
           "tokenizer that made the data");
    }
    print_sample(shards, o);
    return 0;
  }
  fmt::print("tokens      {}\ndocuments   {}\ntext bytes  {}\nvocabulary  {}\n", shards.tokens(),
             shards.documents(), shards.text_bytes(), shards.vocab_size());
  if (shards.packed_length() > 0) {
    fmt::print("packed for  data.sequence_length: {}, only answers are learned\n",
               shards.packed_length());
  }
  fmt::print("tokenizer   {}\ndigest      {}\n", shards.tokenizer_digest(), shards.digest());
  if (o.verify) {
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
  auto o = std::make_shared<InspectOptions>();
  look->add_option("dir", o->dir, "folder of token shards")->required();
  look->add_flag("--verify", o->verify, "read everything and compare the checksums");
  look->add_option("--sample", o->sample, "show document N, from 0: what is learned is marked")
      ->check(CLI::NonNegativeNumber);
  look->add_option("--tokenizer", o->tokenizer, "folder with tokenizer.json, for --sample");
  look->callback([&run, o] { run = alone([o] { return inspect(*o); }); });
}

}  // namespace frugal::cli
