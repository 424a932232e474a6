// The main job: from a config to a trained model, through any number of starts.
#pragma once

#include <functional>
#include <memory>

#include "comm/process_group.h"
#include "trainer/config/config.h"
#include "trainer/data/tokenizer.h"
#include "trainer/engine/rank_place.h"
#include "trainer/engine/run_folder.h"
#include "trainer/engine/weight_source.h"

namespace frugal {

// A config that is ready to run: resolved, its vocabulary known.
struct TrainingRun {
  Config config;
  std::shared_ptr<const ForeignWeights> init_from;  // null: model.init_from is empty
  std::shared_ptr<const PeftAdapter> adapter;       // null: lora.init_from is empty
  std::string base_digest;                          // of a LoRA run's base; empty in others
  std::shared_ptr<const Tokenizer> tokenizer;
};

// Opens model.init_from and lora.init_from, reads the tokenizer and resolves the config for
// world_size ranks. Throws ConfigError, Error(kData).
TrainingRun prepare_training(Config config, int world_size);

// Resolves the config for world_size ranks and a plan_report(): on a machine without the GPU it
// asks for, and, where it says its vocabulary, without the tokenizer. Throws as above.
Config prepare_plan(Config config, int world_size);

// How a training ended.
enum class TrainingEnd {
  kFinished,  // train.steps updates are done
  kStopped,   // a signal; a checkpoint holds everything
};

// Told of this rank's failure while its streams still run and may wait for peers that will never
// answer: ends the job, or wakes them (ProcessGroup::abort).
using FailureHandler = std::function<void(const RunFailure& failure)>;

// One rank's part. Collective. Rank 0 writes the run folder (README, "Run folder"). Resumes as
// checkpoint.resume says. Throws Error(kUsage): ranks with another config or other data on some
// rank, folder in use; kPreflight: too little memory; kData: unusable data or checkpoint, also when
// a checkpoint asked for by a signal could not be written; kDiverged; kCommunication.
TrainingEnd train(const TrainingRun& run, std::unique_ptr<ProcessGroup> world,
                  const RankPlace& place, const FailureHandler& failed);

}  // namespace frugal
