// Where a model's weights come from: a checkpoint of ours, a Hugging Face folder, a GGUF file.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "trainer/checkpoint/foreign_weights.h"
#include "trainer/checkpoint/peft_adapter.h"
#include "trainer/config/config.h"
#include "trainer/engine/load_runs.h"

namespace frugal {

// Makes the model section of config what model.init_from is, and tokenizer.path the same folder or
// file where that is not set and a tokenizer is there. Null where init_from is empty. Throws
// ConfigError, Error(kData).
std::shared_ptr<const ForeignWeights> adopt_init_from(Config& config);

// Makes the lora section of config what lora.init_from is. Null where that is empty. Throws
// ConfigError, Error(kData).
std::shared_ptr<const PeftAdapter> adopt_adapter_from(Config& config);

// A model to run on `ranks` ranks without training.
struct WeightSource {
  Config config;  // resolved; model.vocab_size set
  SliceReader weights;
  std::shared_ptr<const ForeignWeights> foreign;  // null: a checkpoint of ours
  std::string tokenizer_digest;                   // of the training; empty where it is not known
};

// path: a step-... folder (of a LoRA run: the adapters beside the base at model.init_from), a
// folder of Hugging Face's or a *.gguf. overrides: of the config that a checkpoint holds, or of the
// defaults: device, precision.compute, parallelism. A foreign model computes in float32 where its
// weights have that format, in fp16 where they have that, else in bf16. Throws ConfigError,
// Error(kData), also where the file's tensors are not those of its model.
WeightSource open_weights(const std::string& path, std::span<const std::string> overrides,
                          int ranks);

// Compares the file's tensors with those of the config's model, or with its adapters. Throws
// Error(kData).
void check_weights(const ForeignWeights& foreign, const Config& config);
void check_adapter(const PeftAdapter& adapter, const Config& config);

}  // namespace frugal
