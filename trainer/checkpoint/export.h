// From a checkpoint to what others read: a Hugging Face folder, a GGUF file, or the folder of a
// PEFT adapter.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/weight_names.h"

namespace frugal {

struct ExportOptions {
  WeightFormat format = WeightFormat::kHuggingFace;
  std::string output;  // a folder or a file that does not exist yet
  // "bf16", "f16", "f32", for GGUF also "q8_0"; empty: the dtype that the weights came in
  // (state "weights_dtype"), without one f32 for precision.compute fp32, else bf16; for PEFT f32.
  std::string dtype;
  std::string base;  // of a LoRA run: where its base lies now; empty: its model.init_from
  std::int64_t max_shard_bytes =
      5'000'000'000;         // of a safetensors file, except for a larger tensor
  FileOps* files = nullptr;  // null: the disk
  // Name and content of the tokenizer's files; none: those of the folder that the run names.
  std::vector<std::pair<std::string, std::string>> tokenizer;
};

// Writes the weights of a checkpoint of any layout (its tensors "master/..."), with the config, the
// ids of the first and last token, and the files of the tokenizer that the run names. Adapters of a
// LoRA run are added to their base in float32; for PEFT they are written alone. In 16 bits
// GGUF keeps vectors and position tables in F32, in Q8_0 also matrices in F16 whose rows are no
// whole blocks. Holds a few
// bands of rows (16 MiB) at a time, whatever the model.
//
// The output appears under a temporary name beside it and is renamed when it is whole; after an
// error nothing of it is left. Throws Error(kUsage) for an output that exists or a dtype that the
// format has not, Error(kData) where checkpoint or tokenizer cannot be read, a value does not fit
// the dtype, or writing fails; kUsage too where there are no adapters for PEFT, or GPT-2's. Returns
// a line that says what was written.
std::string export_checkpoint(const CheckpointReader& reader, const ExportOptions& options);

}  // namespace frugal
