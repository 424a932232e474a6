#include "trainer/metrics/metrics.h"

#include <chrono>
#include <filesystem>
#include <vector>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "trainer/metrics/event_file.h"
#include "trainer/metrics/json_lines.h"
#include "trainer/metrics/printable_text.h"
#include "trainer/metrics/standard_output.h"

namespace frugal {
namespace {

// Makes the run folder and those below it; returns it, so that members can be opened after.
std::string prepare(const MetricsWriter::Options& options) {
  std::error_code error;
  for (const char* folder : {"tb", "samples"}) {
    if (folder == std::string_view("tb") && !options.tensorboard) continue;
    const std::string path = fmt::format("{}/{}", options.run_dir, folder);
    std::filesystem::create_directories(path, error);
    if (error) fail(ErrorKind::kData, path, ": cannot create the folder: ", error.message());
  }
  return options.run_dir;
}

}  // namespace

struct MetricsWriter::Impl {
  explicit Impl(const Options& o)
      : options(o),
        run_dir(prepare(o)),
        log(run_dir + "/log.txt"),
        json(run_dir + "/metrics.jsonl", o.resume_step) {
    if (o.tensorboard) events.emplace(run_dir + "/tb", o.resume_step + 1);
  }

  // Once, on the console, until all is written: a full disk is no reason to lose the run.
  void tell_problem() {
    std::string problem = json.file().problem();
    if (problem.empty()) problem = log.problem();
    if (problem.empty() && events) problem = events->file().problem();
    if (!told && !problem.empty()) {
      console.say(fmt::format(
          "{}; free disk space: what the run reports waits in memory until then", problem));
    }
    told = !problem.empty();
  }

  void write_sample_file(std::int64_t step, bool first, std::string_view prompt,
                         std::string_view text);

  Options options;
  std::string run_dir;
  StandardOutput console;
  AppendedFile log;
  JsonLines json;
  std::optional<EventFile> events;
  std::int64_t sample_step = -1;  // the step of the last sample
  int samples_of_step = 0;
  bool told = false;  // that a file cannot be written
};

void MetricsWriter::Impl::write_sample_file(std::int64_t step, bool first, std::string_view prompt,
                                            std::string_view text) {
  // The first sample of a step begins its file anew: after a resume it is written a second time.
  const std::string path = fmt::format("{}/samples/step-{:08d}.txt", run_dir, step);
  std::string problem;
  try {
    if (first) std::filesystem::remove(path);
    AppendedFile file(path);
    file.append(fmt::format("--- prompt: {}\n{}{}\n\n", prompt, prompt, text));
    problem = file.problem();
  } catch (const std::exception& error) {
    problem = error.what();
  }
  if (!problem.empty()) console.say(problem + "; this sample is only shown here");
}

MetricsWriter::MetricsWriter(const Options& options) : impl_(std::make_unique<Impl>(options)) {
  for (const std::string& line : options.said_before) impl_->log.append(line + "\n");
  if (impl_->json.lines_cut() > 0) {
    say(fmt::format("metrics.jsonl: lines after step {} or torn, cut off: {}", options.resume_step,
                    impl_->json.lines_cut()));
  }
}

MetricsWriter::~MetricsWriter() = default;

void MetricsWriter::step(const StepMetrics& m) {
  const Options& options = impl_->options;
  impl_->json.step(m);
  if (impl_->events) {
    constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
    std::vector<EventScalar> values{
        {"train/loss", m.loss},
        {"train/grad_norm", m.grad_norm},
        {"train/learning_rate", m.learning_rate},
        {"train/consumed_tokens", static_cast<float>(m.tokens)},
        {"train/tokens_per_second", static_cast<float>(m.tokens_per_second)},
        {"train/step_time_s", static_cast<float>(m.step_time_s)},
        {"train/mfu", static_cast<float>(m.mfu)},
        {"memory/peak_gib", static_cast<float>(static_cast<double>(m.peak_bytes) / kGib)}};
    if (m.loss_scale) values.push_back({"train/loss_scale", *m.loss_scale});
    impl_->events->scalars(m.step, values);
  }
  impl_->tell_problem();
  const bool first = m.step == options.resume_step + 1;
  const bool last = m.step == options.total_steps;
  if (first || last || m.skipped || m.step % options.console_interval == 0) {
    say(console_line(m, options.total_steps));
  }
}

void MetricsWriter::eval(const EvalMetrics& m) {
  impl_->json.eval(m);
  if (impl_->events) {
    const EventScalar values[] = {{"valid/loss", m.loss},
                                  {"valid/bits_per_byte", static_cast<float>(m.bits_per_byte)}};
    impl_->events->scalars(m.step, values);
  }
  say(fmt::format("step {}/{} | validation loss {:.3f} | {:.3f} bits per byte", m.step,
                  impl_->options.total_steps, m.loss, m.bits_per_byte));
}

void MetricsWriter::choices(const ChoiceMetrics& m) {
  impl_->json.choices(m);
  if (impl_->events) {
    const EventScalar values[] = {
        {"valid/choices_right", static_cast<float>(m.right)},
        {"valid/choices_right_per_byte", static_cast<float>(m.right_per_byte)}};
    impl_->events->scalars(m.step, values);
  }
  say(fmt::format("step {}/{} | {:.1f} % of the questions right, {:.1f} % by likelihood per byte",
                  m.step, impl_->options.total_steps, 100 * m.right, 100 * m.right_per_byte));
}

void MetricsWriter::sample(std::int64_t step, std::string_view prompt, std::string_view text) {
  const bool new_step = step != impl_->sample_step;
  impl_->samples_of_step = new_step ? 0 : impl_->samples_of_step + 1;
  impl_->sample_step = step;

  impl_->write_sample_file(step, new_step, prompt, text);
  const std::string shown = printable_text(fmt::format("{}{}", prompt, text));
  if (impl_->events) {
    impl_->events->text(step, fmt::format("samples/{}", impl_->samples_of_step),
                        fmt::format("```\n{}\n```", shown));
  }
  say(fmt::format("step {} sample | {}", step, shown));
}

void MetricsWriter::say(std::string_view line) {
  impl_->console.say(line);
  impl_->log.append(line);
  impl_->log.append("\n");
  impl_->tell_problem();
}

void MetricsWriter::let_console_finish() {
  impl_->console.finish(std::chrono::seconds(1));
}

}  // namespace frugal
