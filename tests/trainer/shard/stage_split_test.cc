#include "trainer/shard/stage_split.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/core/check.h"
#include "trainer/model/model.h"

namespace frugal {
namespace {

ModelDimensions dimensions(int layers, int vocab) {
  Config config;
  config.model.model_type = "llama";
  config.model.hidden_size = 64;
  config.model.intermediate_size = 192;
  config.model.num_hidden_layers = layers;
  config.model.num_attention_heads = config.model.num_key_value_heads = 4;
  config.model.head_dim = 16;
  config.model.vocab_size = vocab;
  config.data.sequence_length = 32;
  return model_dimensions(config, 0);
}

ParallelismConfig stages(int pipeline, int stages_per_rank = 1, std::vector<int> layers = {}) {
  ParallelismConfig out;
  out.pipeline = pipeline;
  out.stages_per_rank = stages_per_rank;
  out.stage_layers = std::move(layers);
  return out;
}

std::vector<int> sizes(const std::vector<StageRange>& ranges) {
  std::vector<int> out;
  for (const StageRange& range : ranges) out.push_back(range.end - range.begin);
  return out;
}

TEST(StageSplit, CoversTheModelInOrderAtEverySize) {
  for (int layers = 1; layers <= 9; ++layers) {
    const ModelDimensions dims = dimensions(layers, 500);
    for (int count = 1; count <= layer_entries(dims); ++count) {
      const auto ranges = split_stages(dims, stages(count));
      ASSERT_EQ(std::ssize(ranges), count);
      int at = 0;
      for (const StageRange& range : ranges) {
        EXPECT_EQ(range.begin, at);
        EXPECT_GT(range.end, range.begin);
        at = range.end;
      }
      EXPECT_EQ(at, layer_entries(dims));
    }
  }
}

TEST(StageSplit, AnExpensiveHeadTakesLayersFromItsStage) {
  const auto cheap = sizes(split_stages(dimensions(8, 64), stages(4)));
  const auto expensive = sizes(split_stages(dimensions(8, 8000), stages(4)));
  EXPECT_LT(expensive.back(), cheap.back());
  EXPECT_EQ(expensive.back(), 1);  // the head alone is more than a quarter of the work
  const ModelDimensions dims = dimensions(8, 2000);
  const auto uneven = split_stages(dims, stages(4));
  const auto costs = stage_costs(dims, uneven);
  const auto even = stage_costs(dims, {{0, 5}, {5, 9}, {9, 13}, {13, 18}});
  EXPECT_LT(*std::ranges::max_element(costs), *std::ranges::max_element(even));
}

TEST(StageSplit, CostsAreRelativeToTheMean) {
  const ModelDimensions dims = dimensions(6, 300);
  double sum = 0.0;
  for (const double cost : stage_costs(dims, split_stages(dims, stages(3)))) sum += cost;
  EXPECT_NEAR(sum, 3.0, 1e-12);
}

// Two entries a layer; the embedding goes with the first stage, the head with the last.
TEST(StageSplit, GivenLayersAreTaken) {
  const ModelDimensions dims = dimensions(6, 300);
  EXPECT_EQ(sizes(split_stages(dims, stages(3, 1, {1, 3, 2}))), (std::vector<int>{3, 6, 5}));
  EXPECT_EQ(sizes(split_stages(dims, stages(2, 2, {0, 4, 2, 0}))), (std::vector<int>{1, 8, 4, 1}));
  EXPECT_EQ(sizes(split_stages(dims, stages(1, 1, {6}))), (std::vector<int>{14}));
  EXPECT_THROW(split_stages(dims, stages(2, 1, {3, 4})), Error);
}

}  // namespace
}  // namespace frugal
