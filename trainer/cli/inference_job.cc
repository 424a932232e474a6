#include "trainer/cli/inference_job.h"

#include <filesystem>

#include "comm/device_world.h"
#include "kernels/core/threads.h"
#include "trainer/cli/commands.h"
#include "trainer/engine/load_tokenizer.h"
#include "trainer/engine/rank_place.h"

namespace frugal::cli {
namespace {

int ranks_of(const InferenceOptions& options, const World& world) {
  if (options.ranks > 1 && world.size() > 1) {
    fail(ErrorKind::kUsage, "--ranks ", options.ranks,
         " starts ranks as threads of one process; leave it out under mpirun");
  }
  return world.size() > 1 ? world.size() : options.ranks;
}

void run_rank(const InferenceJob& job, std::unique_ptr<ProcessGroup> world, RankPlace place,
              const InferenceLimits& limits, const InferenceWork& work) {
  const Config& config = job.source.config;
  place.own_gpus = sees_own_gpus(*world, config, place);
  set_compute_threads(
      config.train.threads.value_or(std::max(1, available_cores() / place.ranks_on_cores)));
  const Device device = rank_device(config, place);
  const std::string why = unable(config, device);
  if (!why.empty()) fail(ErrorKind::kPreflight, why);
  const ParallelismConfig& p = config.parallelism;
  DeviceMesh mesh(make_device_world(std::move(world), device).group,
                  {.pipeline = p.pipeline, .data = p.data.value(), .tensor = p.tensor});
  InferenceRank rank(config, mesh, device, limits);
  rank.load(job.source.weights);
  work(rank.model(), mesh.world());
  mesh.world().host_barrier();  // nobody leaves while another waits for it
}

}  // namespace

void add_inference_options(CLI::App& command, InferenceOptions& options) {
  command
      .add_option("--checkpoint", options.checkpoint,
                  "a step-... folder, a run folder, a Hugging Face folder or a GGUF file")
      ->required();
  command.add_option("--tokenizer", options.tokenizer,
                     "folder; default: that of the training, or the checkpoint's own");
  command.add_option("--ranks", options.ranks, "ranks as threads of this process, without mpirun")
      ->check(CLI::Range(1, 1024));
  command.add_option("overrides", options.overrides,
                     "section.key=value ..., such as parallelism.tensor=2 precision.compute=fp32");
}

InferenceJob open_job(const InferenceOptions& options, const World& world) {
  const bool file = std::filesystem::is_regular_file(options.checkpoint);
  WeightSource source = open_weights(file ? options.checkpoint : step_folder(options.checkpoint),
                                     options.overrides, ranks_of(options, world));
  const std::string& saved = source.config.tokenizer.path;
  if (options.tokenizer.empty() && saved.empty()) {
    fail(ErrorKind::kData, options.checkpoint,
         ": has no tokenizer beside it; name a folder with --tokenizer");
  }
  Tokenizer tokenizer = load_tokenizer(options.tokenizer.empty() ? saved : options.tokenizer);
  if (!source.tokenizer_digest.empty() && tokenizer.digest() != source.tokenizer_digest) {
    fail(ErrorKind::kData, options.checkpoint,
         ": was trained with another tokenizer; name its folder with --tokenizer");
  }
  if (tokenizer.vocab_size() > source.config.model.vocab_size.value()) {
    fail(ErrorKind::kData, options.checkpoint, ": has a vocabulary of ",
         *source.config.model.vocab_size, ", but the tokenizer has ", tokenizer.vocab_size(),
         " tokens; name the right one with --tokenizer");
  }
  return {std::move(source), std::move(tokenizer)};
}

void run_inference(const InferenceOptions& options, World& world, const InferenceJob& job,
                   const InferenceLimits& limits, const InferenceWork& work) {
  if (world.size() > 1) {
    run_rank(job, world.group(),
             {.local_rank = world.local_rank(),
              .local_size = world.local_size(),
              .ranks_on_cores = world.ranks_on_cores()},
             limits, work);
    return;
  }
  const int ranks = options.ranks;
  run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> group) {
    const RankPlace place{.local_rank = group->rank(),
                          .local_size = ranks,
                          .process_ranks = ranks,
                          .ranks_on_cores = ranks};
    run_rank(job, std::move(group), place, limits, work);
  });
}

}  // namespace frugal::cli
