// A model's config.json, as Hugging Face's transformers reads it, old versions and new ones.
#pragma once

#include <string>
#include <string_view>

#include "nlohmann/json.hpp"
#include "trainer/config/config.h"

namespace frugal {

// What of a model is not in its config.
struct ExportFacts {
  std::int64_t vocab_size = 0;
  std::string_view torch_dtype;  // "bfloat16"
  nlohmann::json bos, eos;       // ids or null
};

// Both spellings of what was renamed: torch_dtype and dtype, rope_theta with rope_scaling and
// rope_parameters. REQUIRES: a resolved config.
std::string hugging_face_config(const ModelConfig& model, const ExportFacts& facts);

// PEFT's adapter_config.json. REQUIRES: config.lora.rank > 0.
std::string adapter_config(const Config& config);

std::string generation_config(const ExportFacts& facts);

}  // namespace frugal
