// Checkpoints with the weights of a foreign model, and what is exported of them.
#pragma once

#include <map>
#include <string>

#include "trainer/checkpoint/export.h"
#include "trainer/checkpoint/foreign_weights.h"
#include "trainer/config/config.h"

namespace frugal::test {

// A byte-level BPE of four tokens and three added ones, two of them special; GPT-2's words.
extern const char* const kTokenizer;
// A new folder with these files: name, content.
std::string tokenizer_folder(const std::map<std::string, std::string>& files);

struct Saved {
  std::string tokenizer = tokenizer_folder({{"tokenizer.json", kTokenizer}});
  std::string weights_dtype, compute = "fp32";
  DType stored = DType::kF32;
};

// A run with the model of a config.json.
Config config_of(const std::string& config_json);

// The path of a checkpoint with these weights, written by two ranks that share matrices by columns
// and vectors by rows.
std::string checkpoint_of(const ForeignWeights& weights, const Saved& saved = {});

// The path of what is made.
std::string export_to(const std::string& checkpoint, ExportOptions options,
                      const std::string& extension = "");

}  // namespace frugal::test
