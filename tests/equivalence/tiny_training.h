// A training so small that hundreds of layouts can be compared: four layers, an odd vocabulary,
// document masks, ignored targets.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/process_group.h"
#include "kernels/core/stream.h"
#include "trainer/config/config.h"

namespace frugal::test {

struct Layout {
  int data = 1, pipeline = 1, tensor = 1;
  std::string schedule = "1f1b";
  int stages_per_rank = 1;
  int zero_stage = 1;
  bool recompute = false;
  std::vector<int> stage_layers;
};

std::string describe(const Layout& layout);

// family: llama or gpt2; precision: fp32 or bf16. Eight lanes.
Config tiny_config(const std::string& family, const std::string& precision);
Config with_layout(Config config, const Layout& layout);

struct Outcome {
  std::vector<float> losses, norms;
  std::map<std::string, std::vector<std::byte>>
      weights;  // of this rank; whole tensors when the tensor size is 1
};

inline constexpr int kSteps = 6;

// One rank's part of the training: what this rank sees of it. Collective over the world, which must
// fit the layout.
Outcome train_rank(const Config& config, std::unique_ptr<ProcessGroup> world,
                   StreamMode compute = StreamMode::kInline);

// The training on thread ranks: the numbers of rank 0, the weights of data rank 0 of every stage.
Outcome train(const Config& config, StreamMode compute = StreamMode::kInline);

}  // namespace frugal::test
