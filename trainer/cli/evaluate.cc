#include <algorithm>
#include <memory>

#include "fmt/format.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/inference_job.h"
#include "trainer/cli/text_io.h"
#include "trainer/engine/score.h"

namespace frugal::cli {
namespace {

struct EvaluateOptions {
  InferenceOptions inference;
  std::string text, questions;
  int window = 1024;
};

double percent(int part, int whole) {
  return 100.0 * part / std::max(whole, 1);
}

int run_evaluate(const EvaluateOptions& options, World& world) {
  if (options.text.empty() == options.questions.empty()) {
    fail(ErrorKind::kUsage, "evaluate: give --text FILE or --choices FILE, one of them");
  }
  const InferenceJob job = open_job(options.inference, world);
  const int window = std::min(options.window, job.source.config.model.max_position_embeddings);
  std::string text;
  std::vector<Question> questions;
  if (options.questions.empty()) {
    text = read_text(options.text);
  } else {
    questions = read_questions(options.questions);
    check_choices(job.tokenizer, questions, window);
  }
  const InferenceLimits limits{.sequences = 1, .positions = window, .new_tokens = window};
  run_inference(
      options.inference, world, job, limits, [&](InferenceModel& model, ProcessGroup& ranks) {
        const bool first = ranks.rank() == 0;
        if (questions.empty()) {
          const TextScore score = score_text(model, job.tokenizer, text, window);
          if (score.tokens == 0) {
            fail(ErrorKind::kData, options.text,
                 ": has no token that could be foretold; name a longer text");
          }
          if (!first) return;
          fmt::print("{}: {} tokens, perplexity {:.3f}, {:.4f} bits per byte\n", options.text,
                     score.tokens, score.perplexity(), score.bits_per_byte());
          return;
        }
        const ChoiceScore score = score_choices(model, job.tokenizer, questions);
        if (!first) return;
        fmt::print("{}: {} questions, {:.1f} % right, {:.1f} % by likelihood per byte\n",
                   options.questions, score.questions, percent(score.right, score.questions),
                   percent(score.right_normalised, score.questions));
      });
  return 0;
}

}  // namespace

void add_evaluate(CLI::App& app, Run& run) {
  auto o = std::make_shared<EvaluateOptions>();
  auto* command = app.add_subcommand(
      "evaluate", "How well a model foretells a text, or answers multiple-choice questions");
  add_inference_options(*command, o->inference);
  command->add_option("--text", o->text, "file: perplexity and bits per byte");
  command->add_option("--choices", o->questions,
                      "file with a line {\"prompt\", \"choices\", \"answer\"} for each question");
  command->add_option("--window", o->window, "tokens that a token may be foretold from, and itself")
      ->check(CLI::Range(2, 1 << 24));
  command->callback([&run, o] { run = [o](World& world) { return run_evaluate(*o, world); }; });
}

}  // namespace frugal::cli
