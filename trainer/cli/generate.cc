#include "trainer/engine/generate.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "fmt/format.h"
#include "trainer/cli/chat.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/inference_job.h"
#include "trainer/cli/streamed_text.h"
#include "trainer/metrics/printable_text.h"

namespace frugal::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMostSequences = 16;    // at once: more prompts take turns
constexpr int kChatPositions = 8192;  // of a conversation, where the model has as many

struct GenerateOptions {
  InferenceOptions inference;
  std::vector<std::string> prompts;
  SamplingOptions sampling;
  bool chat = false;
  std::string chat_format, system;
};

// How long what took, for a line on standard error.
class Stopwatch {
 public:
  void token() {
    if (tokens_++ == 0) first_ = Clock::now();
  }
  void report(std::size_t prompt_tokens) const {
    const auto end = Clock::now();
    const auto seconds = [](auto duration) {
      return std::chrono::duration<double>(duration).count();
    };
    const double prompt = seconds((tokens_ == 0 ? end : first_) - begin_);
    const double rest = tokens_ == 0 ? 0.0 : seconds(end - first_);
    fmt::print(stderr, "prompt: {} tokens, {:.3g} s; then {} tokens, {:.1f} tok/s\n", prompt_tokens,
               prompt, tokens_, rest > 0 ? static_cast<double>(tokens_ - 1) / rest : 0.0);
  }

 private:
  Clock::time_point begin_ = Clock::now(), first_;
  int tokens_ = 0;
};

// One prompt is printed as it grows, several one after the other when all are done.
void continue_prompts(const GenerateOptions& options, const Tokenizer& tokenizer,
                      const std::vector<Prompt>& prompts, InferenceModel& model, bool first) {
  const bool streamed = first && prompts.size() == 1;
  std::size_t prompt_tokens = 0;
  for (const Prompt& prompt : prompts) prompt_tokens += prompt.tokens.size();
  StreamedText text(tokenizer);
  Stopwatch watch;
  if (streamed) fmt::print("{}", options.prompts.front());
  const auto texts =
      generate(model, prompts, options.sampling, [&](std::size_t, std::int32_t token) {
        watch.token();
        if (streamed) text.add(token);
      });
  if (!first) return;
  if (streamed) {
    text.finish();
    fmt::print("\n");
  }
  for (std::size_t i = 0; i < texts.size() && !streamed; ++i) {
    fmt::print("{}{}{}\n", i == 0 ? "" : "\n", options.prompts[i],
               printable_text(tokenizer.decode(texts[i])));
  }
  std::fflush(stdout);
  watch.report(prompt_tokens);
}

int run_chat(const GenerateOptions& options, World& world, const InferenceJob& job) {
  const int positions = std::min(kChatPositions, job.source.config.model.max_position_embeddings);
  const ChatOptions chat_options{
      .format = options.chat_format, .system = options.system, .sampling = options.sampling};
  ChatFormat::of(job.tokenizer, options.chat_format);  // where there is none, say so at once
  run_inference(options.inference, world, job,
                {.sequences = 1, .positions = positions, .new_tokens = positions},
                [&](InferenceModel& model, ProcessGroup& ranks) {
                  chat(model, job.tokenizer, chat_options, ranks);
                });
  return 0;
}

int run_generate(GenerateOptions options, World& world) {
  if (options.chat && !options.prompts.empty()) {
    fail(ErrorKind::kUsage,
         "generate: --chat reads what is said from standard input; leave out "
         "--prompt, or say the beginning with --system");
  }
  const InferenceJob job = open_job(options.inference, world);
  if (options.chat) return run_chat(options, world, job);
  if (options.prompts.empty()) options.prompts.emplace_back();
  options.sampling.stop_tokens = job.tokenizer.stop_tokens();
  options.sampling.vocab_size = job.tokenizer.vocab_size();
  std::vector<Prompt> prompts;
  std::size_t longest = 0;
  for (const std::string& text : options.prompts) {
    prompts.push_back({.tokens = prompt_tokens(job.tokenizer, text)});
    longest = std::max(longest, prompts.back().tokens.size());
  }
  const int most = job.source.config.model.max_position_embeddings;
  const auto positions = [&](std::size_t tokens) {
    return static_cast<int>(std::min(tokens, static_cast<std::size_t>(most)));
  };
  if (longest > static_cast<std::size_t>(most) && world.rank() == 0) {
    fmt::print(stderr, "generate: a prompt has {} tokens, of which the model sees the last {}\n",
               longest, most);
  }
  const auto room = longest + static_cast<std::size_t>(options.sampling.max_new_tokens);
  const InferenceLimits limits{
      .sequences = std::min(kMostSequences, static_cast<int>(prompts.size())),
      .positions = positions(room),
      .new_tokens = positions(longest)};
  run_inference(options.inference, world, job, limits,
                [&](InferenceModel& model, ProcessGroup& ranks) {
                  continue_prompts(options, job.tokenizer, prompts, model, ranks.rank() == 0);
                });
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Run& run) {
  auto o = std::make_shared<GenerateOptions>();
  auto* command = app.add_subcommand("generate", "Continue texts with a trained model");
  add_inference_options(*command, o->inference);
  command->add_option("--prompt", o->prompts, "a text to continue; several times for several")
      ->take_all()
      ->expected(1);
  command->add_flag("--chat", o->chat, "a conversation: what you say is read line by line");
  command->add_option("--system", o->system, "with --chat: what the conversation begins with");
  command->add_option("--chat-format", o->chat_format,
                      "chatml, llama3, deepseek-v2, deepseek-v3; default: the tokenizer's");
  command->add_option("--max-new-tokens", o->sampling.max_new_tokens)
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--temperature", o->sampling.temperature, "0: the most likely token")
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-k", o->sampling.top_k, "0: all")->check(CLI::Range(0, 1 << 30));
  command->add_option("--top-p", o->sampling.top_p)->check(CLI::Range(0.0, 1.0));
  command
      ->add_option("--repetition-penalty", o->sampling.repetition_penalty,
                   "above 1: less of what was there before")
      ->check(CLI::Range(0.01, 100.0));
  command->add_option("--seed", o->sampling.seed);
  command->callback([&run, o] { run = [o](World& world) { return run_generate(*o, world); }; });
}

}  // namespace frugal::cli
