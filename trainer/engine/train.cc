#include "trainer/engine/train.h"

#include <algorithm>
#include <optional>

#include "comm/device_world.h"
#include "kernels/core/threads.h"
#include "trainer/engine/load_tokenizer.h"
#include "trainer/engine/memory_check.h"
#include "trainer/engine/same_facts.h"
#include "trainer/engine/train_loop.h"

namespace frugal {
TrainingRun prepare_training(Config config, int world_size) {
  auto init_from = adopt_init_from(config);
  auto adapter = adopt_adapter_from(config);
  resolve_config(config, world_size);
  const bool lora = config.lora.rank > 0;
  if (lora && !init_from) {
    fail(ErrorKind::kUsage,
         "lora.rank is set, but model.init_from is not: adapters are trained beside the weights of "
         "a "
         "model; name a Hugging Face folder or a GGUF file there, or set lora.rank to 0");
  }
  rank_device(config, {});  // where there is none, say so before anything is read
  auto tokenizer = std::make_shared<const Tokenizer>(load_tokenizer(config.tokenizer.path));
  const int vocabulary = tokenizer->vocab_size();
  if (!config.model.vocab_size) config.model.vocab_size = vocabulary;
  if (*config.model.vocab_size < vocabulary) {
    fail(ErrorKind::kData, "model.vocab_size is ", *config.model.vocab_size, ", but ",
         config.tokenizer.path, " has ", vocabulary, " tokens; set model.vocab_size: auto");
  }
  if (init_from) check_weights(*init_from, config);
  if (adapter) check_adapter(*adapter, config);
  std::string base_digest = lora ? init_from->fingerprint() : "";
  return {.config = std::move(config),
          .init_from = std::move(init_from),
          .adapter = std::move(adapter),
          .base_digest = std::move(base_digest),
          .tokenizer = std::move(tokenizer)};
}

Config prepare_plan(Config config, int world_size) {
  const auto init_from = adopt_init_from(config);
  const auto adapter = adopt_adapter_from(config);
  resolve_config(config, world_size);
  if (!config.model.vocab_size) {
    config.model.vocab_size = load_tokenizer(config.tokenizer.path).vocab_size();
  }
  if (init_from) check_weights(*init_from, config);
  if (adapter) check_adapter(*adapter, config);
  return config;
}

TrainingEnd train(const TrainingRun& run, std::unique_ptr<ProcessGroup> world,
                  const RankPlace& start_place, const FailureHandler& failed) {
  const Config& config = run.config;
  const int rank = world->rank();
  set_compute_threads(
      config.train.threads.value_or(std::max(1, available_cores() / start_place.ranks_on_cores)));
  require_same_facts(*world, {{"config", dump_config(config)}},
                     "start every rank with the same file and overrides");
  RankPlace place = start_place;
  place.own_gpus = sees_own_gpus(*world, config, place);
  const Device device = rank_device(config, place);
  const std::string why = unable(config, device);
  if (!why.empty()) fail(ErrorKind::kPreflight, why);
  check_memory(config, rank, place, device);
  const ParallelismConfig& p = config.parallelism;
  const int ranks = world->size();
  DeviceWorld devices = make_device_world(
      std::move(world), device,
      {.timeout = std::chrono::seconds(config.parallelism.communication_timeout)});
  DeviceMesh mesh(std::move(devices.group), {.pipeline = p.pipeline,
                                             .data = p.data.value(),
                                             .context = p.context,
                                             .tensor = p.tensor,
                                             .expert = p.expert});
  RunFolder folder(config, rank, ranks);
  mesh.world().host_barrier();  // from here on every rank's failure is one of this run
  std::optional<TrainLoop> loop;
  std::optional<RunFailure> failure;
  try {
    loop.emplace(run, mesh, place, folder, devices.transport);
    const TrainingEnd end = loop->run();
    const bool finished = end == TrainingEnd::kFinished;
    folder.set_state(finished ? "finished" : "stopped", finished ? 0 : 75);
    return end;  // the loop's end waits for whoever reads standard output
  } catch (const Error& error) {
    failure.emplace(error.kind(), error.what(), folder);
  } catch (const std::bad_alloc&) {
    failure.emplace(ErrorKind::kPreflight,
                    "out of memory; `frugal train ... --dry-run` shows what the run needs", folder);
  } catch (const std::exception& error) {
    failure.emplace(ErrorKind::kInternal, error.what(), folder);
  }
  if (loop) loop->let_console_finish();
  mesh.world().abort(std::make_exception_ptr(*failure));  // streams that wait for peers
  failed(*failure);
  throw *failure;
}

}  // namespace frugal
