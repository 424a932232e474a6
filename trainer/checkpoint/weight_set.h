// Weights under the parameters' own names, wherever they come from: what an export writes.
#pragma once

#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/foreign_weights.h"
#include "trainer/config/config.h"

namespace frugal {

// The kind under which checkpoints hold what weights are made of.
inline constexpr std::string_view kWeightKind = "master/";

struct WeightSet {
  std::string where;                             // for messages
  std::vector<CheckpointReader::Entry> entries;  // sorted by name
  SliceReader read;                              // slice.local has the entry's dtype
};

// What the checkpoint holds: of a LoRA run, the adapters. The reader must outlive it.
WeightSet stored_weights(const CheckpointReader& reader);

// W + alpha / rank * B A of every adapted W, and every other weight of the base, in float32. The
// checkpoint of a LoRA run and its base must outlive it. Throws Error(kData) where an adapter has
// no weight beside it.
WeightSet merged_weights(const CheckpointReader& reader, const ForeignWeights& base,
                         const Config& config);

// The identity of a LoRA run's checkpoint under which it holds ForeignWeights::fingerprint() of the
// base, and the base itself at `path`. Throws Error(kData) where there is none or another one.
inline constexpr const char* kBaseIdentity = "weights of model.init_from";
std::unique_ptr<ForeignWeights> open_base(const CheckpointReader& reader, const std::string& path);

}  // namespace frugal
