#include <memory>
#include <mutex>
#include <optional>

#include "fmt/format.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/end_job.h"
#include "trainer/engine/plan_report.h"
#include "trainer/engine/signals.h"
#include "trainer/engine/train.h"

namespace frugal::cli {
namespace {

constexpr int kStoppedEarly = 75;  // run me again

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  int ranks = 1;
  bool dry_run = false;
};

// --dry-run shows the whole layout from one process.
int layout_ranks(const Config& config, int started) {
  const ParallelismConfig& p = config.parallelism;
  const int model_ranks = p.pipeline * p.context * p.tensor;
  return p.data ? *p.data * model_ranks : std::max(started, model_ranks);
}

int run_train(const TrainOptions& options, World& world) {
  if (options.ranks > 1 && world.size() > 1) {
    fail(ErrorKind::kUsage, "--ranks ", options.ranks,
         " starts ranks as threads of one process; leave it out under mpirun");
  }
  const int ranks = world.size() > 1 ? world.size() : options.ranks;
  Config config = load_config(options.config, options.overrides);
  if (options.dry_run) {
    if (world.rank() > 0) return 0;
    const int planned = layout_ranks(config, ranks);
    fmt::print("{}", plan_report(prepare_plan(std::move(config), planned)));
    return 0;
  }
  const TrainingRun run = prepare_training(std::move(config), ranks);
  install_signal_handlers();
  if (options.ranks == 1) {
    const RankPlace place{.local_rank = world.local_rank(),
                          .local_size = world.local_size(),
                          .ranks_on_cores = world.ranks_on_cores()};
    const auto failed = [&](const RunFailure& failure) {
      if (world.size() > 1) end_job(world, failure.kind(), failure.what(), &failure);
    };
    const TrainingEnd end = train(run, world.group(), place, failed);
    return end == TrainingEnd::kFinished ? 0 : kStoppedEarly;
  }
  std::mutex mutex;
  std::optional<TrainingEnd> end;
  run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> group) {
    const RankPlace place{.local_rank = group->rank(),
                          .local_size = ranks,
                          .process_ranks = ranks,
                          .ranks_on_cores = ranks};
    ProcessGroup& members = *group;
    const auto failed = [&](const RunFailure& failure) {
      members.abort(std::make_exception_ptr(failure));
    };
    const TrainingEnd own = train(run, std::move(group), place, failed);
    const std::lock_guard lock(mutex);
    end = own;
  });
  return end == TrainingEnd::kFinished ? 0 : kStoppedEarly;
}

}  // namespace

void add_train(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand("train", "Train as a config says; resumes by itself");
  auto options = std::make_shared<TrainOptions>();
  command->add_option("config", options->config, "YAML file; keys: configs/README.md")->required();
  command->add_option("overrides", options->overrides, "section.key=value ...");
  command->add_option("--ranks", options->ranks, "ranks as threads of this process, without mpirun")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--dry-run", options->dry_run, "print layout, memory and schedule, and exit");
  command->callback(
      [&run, options] { run = [options](World& world) { return run_train(*options, world); }; });
}

}  // namespace frugal::cli
