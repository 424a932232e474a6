// What a run is, in words: what must not change on resume, and what did.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace frugal {

// "model.hidden_size" -> "64", for every key of a resolved config.
std::map<std::string, std::string> flat_config(const std::string& yaml);

// Of what a run reads.
struct RunDigests {
  std::string tokenizer, data;
  std::string base;  // of LoRA; empty without
};

// What a checkpoint and a run that resumes from it must agree in. train.lanes belongs to it under
// determinism `ordered` alone; otherwise it follows the layout.
std::map<std::string, std::string> run_identity(const Config& config, const RunDigests& digests);

// "optimizer.learning_rate 0.001 -> 0.0003" for every other key that differs.
std::vector<std::string> config_changes(const std::string& old_yaml, const std::string& new_yaml);

// "data 2 x pipeline 2 x tensor 1, 1f1b, zero 1".
std::string layout_text(const ParallelismConfig& parallelism);

}  // namespace frugal
