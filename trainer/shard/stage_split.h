// Which entries of the flat list of layers form each pipeline stage.
#pragma once

#include <vector>

#include "trainer/config/config.h"
#include "trainer/model/dimensions.h"

namespace frugal {

// Entries [begin, end) of one stage.
struct StageRange {
  int begin = 0, end = 0;
};

// One range per stage, in order. parallelism.stage_layers counts transformer layers (the embedding
// goes with the first stage, the head with the last); without it the entries are divided so that
// the most expensive stage is as cheap as possible.
std::vector<StageRange> split_stages(const ModelDimensions& dims,
                                     const ParallelismConfig& parallelism);

// Computing cost of every stage, relative to the mean: prices a schedule.
std::vector<double> stage_costs(const ModelDimensions& dims, const std::vector<StageRange>& stages);

}  // namespace frugal
