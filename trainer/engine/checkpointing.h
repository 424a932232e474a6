// Between the rank model and its checkpoints. All calls are collective over the world.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/engine/rank_model.h"
#include "trainer/engine/run_identity.h"
#include "trainer/optim/loss_scale.h"

namespace frugal {

// What the loop itself goes on from.
struct Progress {
  std::int64_t step = 0;    // updates tried
  std::int64_t tokens = 0;  // target tokens seen
  std::int64_t skipped = 0, skipped_in_a_row = 0;
  LossScale loss_scale;  // of the next update
  // That of the weights that the run began with, "f32", "bf16" or "f16": what an export writes.
  // Empty where they came from the seed.
  std::string weights_dtype;

  // What follows from how the last update went.
  void settle(bool update_skipped, const PrecisionConfig& precision);
};

// Fills tensors of the model and returns where to go on. Throws Error(kData) when a tensor is
// missing or does not fit.
Progress load_checkpoint(const CheckpointReader& reader, RankModel& model);

// Progress::weights_dtype of weights that are of such a type in their file.
std::string weights_dtype(std::string_view file_type);

// Everything of a run that its checkpoints share.
struct CheckpointFacts {
  std::string root;  // of step-XXXXXXXX folders
  std::string run_id;
  RunDigests digests;
};

// False: not written; older checkpoints stay. `problem` says why, or what old checkpoint could not
// be removed (rank 0), or is empty.
bool save_checkpoint(const CheckpointFacts& facts, const RankModel& model, const Progress& progress,
                     ProcessGroup& world, std::string& problem);

// The checkpoint that checkpoint.resume names, or an empty string for a fresh start. Checkpoints of
// the run that are not its past (all with `never`, later ones with a path) are put aside, so that
// they are neither lost nor resumed: once it is known that the named one is whole and of this run.
// Throws Error(kData) where it is not, and where a fresh start would forget what was put aside
// before. say: rank 0 alone. Collective.
std::string checkpoint_to_resume(const Config& config, const CheckpointFacts& facts,
                                 ProcessGroup& world,
                                 const std::function<void(std::string_view)>& say);

}  // namespace frugal
