#include "trainer/shard/stage_split.h"

#include <numeric>

#include "trainer/model/model.h"
#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

std::vector<double> entry_costs(const ModelDimensions& dims) {
  std::vector<double> out;
  for (const auto& layer : make_layers(dims, 0, layer_entries(dims), {}))
    out.push_back(layer->cost());
  return out;
}

}  // namespace

std::vector<StageRange> split_stages(const ModelDimensions& dims,
                                     const ParallelismConfig& parallelism) {
  const int stages = parallelism.pipeline * parallelism.stages_per_rank;
  std::vector<int> sizes;
  if (parallelism.stage_layers.empty()) {
    sizes = split_by_cost(entry_costs(dims), stages);
  } else {
    for (const int layers : parallelism.stage_layers) sizes.push_back(2 * layers);
    sizes.front() += 1;
    sizes.back() += 1;
  }
  std::vector<StageRange> out;
  int begin = 0;
  for (const int size : sizes) {
    out.push_back({begin, begin + size});
    begin += size;
  }
  FRUGAL_CHECK(begin == layer_entries(dims), "stages hold ", begin, " of ", layer_entries(dims),
               " entries");
  return out;
}

std::vector<double> stage_costs(const ModelDimensions& dims,
                                const std::vector<StageRange>& stages) {
  const std::vector<double> costs = entry_costs(dims);
  const double mean =
      std::accumulate(costs.begin(), costs.end(), 0.0) / static_cast<double>(stages.size());
  std::vector<double> out;
  for (const auto& stage : stages) {
    out.push_back(std::accumulate(costs.begin() + stage.begin, costs.begin() + stage.end, 0.0) /
                  mean);
  }
  return out;
}

}  // namespace frugal
