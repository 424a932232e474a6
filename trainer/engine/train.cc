#include "trainer/engine/train.h"

#include <unistd.h>

#include <algorithm>

#include "kernels/core/threads.h"
#include "trainer/engine/plan_report.h"
#include "trainer/engine/train_loop.h"

namespace frugal {
namespace {

std::int32_t digest_of(const std::string& text) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return static_cast<std::int32_t>(hash ^ (hash >> 32U));
}

// Every rank must have read the same file and overrides.
void check_same_config(const Config& config, ProcessGroup& world) {
  const auto stream = make_stream({}, "config", StreamMode::kInline);
  std::int32_t own = digest_of(dump_config(config));
  std::vector<std::int32_t> all(static_cast<std::size_t>(world.size()));
  world.all_gather(Tensor{reinterpret_cast<std::byte*>(&own), {1}, DType::kI32, {}},
                   {reinterpret_cast<std::byte*>(all.data()), {world.size()}, DType::kI32, {}},
                   *stream);
  stream->synchronize();
  const auto other = std::ranges::find_if(all, [&](std::int32_t d) { return d != all.front(); });
  if (other == all.end()) return;
  fail(ErrorKind::kUsage, "rank ", other - all.begin(),
       " has another config than rank 0: start every rank with the same file and overrides");
}

void check_memory(const Config& config, int world_rank, const RankPlace& place) {
  const MemoryPlan plan = RankModel::plan(config, world_rank);
  const auto host = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                    static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t needed = plan.total() * static_cast<std::size_t>(place.local_size);
  if (needed <= host) return;
  fail(ErrorKind::kPreflight, "the run needs about ", bytes_text(needed), " on this host (",
       place.local_size, " ranks), which has ", bytes_text(host),
       "; use more hosts, a smaller batch.micro_batch_size or memory.recompute=full "
       "(--dry-run shows what takes it)");
}

}  // namespace

TrainingRun prepare_training(Config config, int world_size) {
  TrainingRun run;
  resolve_config(config, world_size);
  if (config.device == "cuda") {
    fail(ErrorKind::kPreflight,
         "device: cuda, but this build has no CUDA backend; set device: cpu");
  }
  run.tokenizer = std::make_shared<const Tokenizer>(Tokenizer::load(config.tokenizer.path));
  const int vocabulary = run.tokenizer->vocab_size();
  if (!config.model.vocab_size) config.model.vocab_size = vocabulary;
  if (*config.model.vocab_size < vocabulary) {
    fail(ErrorKind::kData, "model.vocab_size is ", *config.model.vocab_size, ", but ",
         config.tokenizer.path, " has ", vocabulary, " tokens; set model.vocab_size: auto");
  }
  run.config = std::move(config);
  return run;
}

TrainingEnd train(const TrainingRun& run, std::unique_ptr<ProcessGroup> world,
                  const RankPlace& place) {
  const Config& config = run.config;
  const int rank = world->rank();
  set_compute_threads(
      config.train.threads.value_or(std::max(1, available_cores() / place.ranks_on_cores)));
  check_same_config(config, *world);
  check_memory(config, rank, place);
  const ParallelismConfig& p = config.parallelism;
  const int ranks = world->size();
  DeviceMesh mesh(std::move(world), {.pipeline = p.pipeline,
                                     .data = p.data.value(),
                                     .context = p.context,
                                     .tensor = p.tensor,
                                     .expert = p.expert});
  RunFolder folder(config, rank, ranks);
  try {
    const TrainingEnd end = TrainLoop(run, mesh, place, folder).run();
    const bool finished = end == TrainingEnd::kFinished;
    folder.set_state(finished ? "finished" : "stopped", finished ? 0 : 75);
    return end;
  } catch (const Error& error) {
    folder.set_state("failed", static_cast<int>(error.kind()));
    throw;
  }
}

}  // namespace frugal
