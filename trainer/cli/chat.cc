#include "trainer/cli/chat.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>

#include "fmt/format.h"
#include "trainer/cli/streamed_text.h"

namespace frugal::cli {
namespace {

// The next line of rank 0's standard input, on every rank; nullopt at its end.
std::optional<std::string> next_line(ProcessGroup& world, bool prompts) {
  std::string line;
  std::int32_t size = -1;  // the end
  if (world.rank() == 0) {
    if (prompts) fmt::print("> ");
    std::fflush(stdout);
    if (std::getline(std::cin, line)) size = static_cast<std::int32_t>(line.size());
  }
  const auto stream = make_stream({}, "line");
  world.broadcast({reinterpret_cast<std::byte*>(&size), {1}, DType::kI32, {}}, 0, *stream);
  stream->synchronize();
  if (size < 0) return std::nullopt;
  line.resize(static_cast<std::size_t>(size));
  world.broadcast({reinterpret_cast<std::byte*>(line.data()), {size}, DType::kU8, {}}, 0, *stream);
  stream->synchronize();
  return line;
}

class Conversation {
 public:
  Conversation(InferenceModel& model, const Tokenizer& tokenizer, const ChatOptions& options,
               bool speaks)
      : model_(model),
        tokenizer_(tokenizer),
        format_(ChatFormat::of(tokenizer, options.format)),
        sampling_(options.sampling),
        speaks_(speaks) {
    sampling_.stop_tokens = tokenizer.stop_tokens();
    sampling_.vocab_size = tokenizer.vocab_size();
    sampling_.stop_tokens.push_back(format_.end_of_turn());
    if (!options.system.empty()) messages_.push_back({ChatRole::kSystem, options.system});
  }

  void say(std::string text) {
    messages_.push_back({ChatRole::kUser, std::move(text)});
    const std::vector<std::int32_t> tokens = tokens_that_fit();
    // What the cache has of them; one token at least is fed.
    const auto same = std::ranges::mismatch(cached_, tokens).in1 - cached_.begin();
    const auto reused = std::min<std::ptrdiff_t>(same, std::ssize(tokens) - 1);
    SamplingOptions sampling = sampling_;
    sampling.seed += messages_.size();  // another draw for every turn
    StreamedText shown(tokenizer_);
    const auto answers = generate(model_, {{.tokens = tokens, .cached = reused}}, sampling,
                                  [&](std::size_t, std::int32_t token) {
                                    if (speaks_) shown.add(token);
                                  });
    if (speaks_) shown.finish();
    if (speaks_) fmt::print("\n");
    const std::vector<std::int32_t>& answer = answers.front();
    cached_ = tokens;
    if (!answer.empty()) cached_.insert(cached_.end(), answer.begin(), answer.end() - 1);
    messages_.push_back({ChatRole::kAssistant, tokenizer_.decode(answer)});
  }

 private:
  // The conversation, without its oldest turns where it has become too long.
  std::vector<std::int32_t> tokens_that_fit() {
    const std::int64_t most = model_.limits().new_tokens;
    const std::int64_t room = std::max<std::int64_t>(most - sampling_.max_new_tokens, most / 2);
    std::vector<std::int32_t> tokens = format_.render(messages_, true).ids;
    bool forgot = false;
    while (std::ssize(tokens) > room) {
      const auto first = messages_.begin() + (messages_.front().role == ChatRole::kSystem ? 1 : 0);
      if (messages_.end() - first < 3) {  // nothing but what was said last
        tokens.erase(tokens.begin(), tokens.end() - room);
        forgot = true;
        break;
      }
      messages_.erase(first, first + 2);  // a question and its answer
      tokens = format_.render(messages_, true).ids;
      forgot = true;
    }
    if (forgot && speaks_) {
      fmt::print(stderr, "(the beginning of the conversation no longer fits and is forgotten)\n");
    }
    return tokens;
  }

  InferenceModel& model_;
  const Tokenizer& tokenizer_;
  ChatFormat format_;
  SamplingOptions sampling_;
  bool speaks_;
  std::vector<ChatMessage> messages_;
  std::vector<std::int32_t> cached_;
};

}  // namespace

void chat(InferenceModel& model, const Tokenizer& tokenizer, const ChatOptions& options,
          ProcessGroup& world) {
  Conversation conversation(model, tokenizer, options, world.rank() == 0);
  const bool prompts = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
  while (auto line = next_line(world, prompts)) {
    if (line->find_first_not_of(" \t\r") != std::string::npos) conversation.say(std::move(*line));
  }
}

}  // namespace frugal::cli
