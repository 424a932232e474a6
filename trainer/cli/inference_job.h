// What the commands that run a model without training it have in common.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "comm/world.h"
#include "trainer/data/tokenizer.h"
#include "trainer/engine/inference_rank.h"
#include "trainer/engine/weight_source.h"

namespace frugal::cli {

struct InferenceOptions {
  std::string checkpoint, tokenizer;
  std::vector<std::string> overrides;
  int ranks = 1;
};
void add_inference_options(CLI::App& command, InferenceOptions& options);

// Opened for all ranks of the job.
struct InferenceJob {
  WeightSource source;
  Tokenizer tokenizer;
};
// Throws Error(kUsage, kData), ConfigError: also where a checkpoint was trained with another
// tokenizer.
InferenceJob open_job(const InferenceOptions& options, const World& world);

// Runs work on every rank, with a loaded model within the limits. Under mpirun its processes are
// the ranks, else threads.
using InferenceWork = std::function<void(InferenceModel& model, ProcessGroup& world)>;
void run_inference(const InferenceOptions& options, World& world, const InferenceJob& job,
                   const InferenceLimits& limits, const InferenceWork& work);

}  // namespace frugal::cli
