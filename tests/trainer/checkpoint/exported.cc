#include "tests/trainer/checkpoint/exported.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "comm/world.h"
#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/saved_model.h"

namespace frugal::test {

namespace fs = std::filesystem;

const char* const kTokenizer = R"({"added_tokens": [
    {"id": 4, "content": "<|begin|>", "special": true}, {"id": 5, "content": "<|endoftext|>", "special": true},
    {"id": 6, "content": "<tool>", "special": false}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "post_processor": null,
  "model": {"type": "BPE", "byte_fallback": false, "vocab": {"a": 0, "b": 1, "ab": 2, "\u0120a": 3},
            "merges": ["a b", ["\u0120", "a"]]}})";

std::string tokenizer_folder(const std::map<std::string, std::string>& files) {
  std::string folder = fresh_root();
  fs::create_directories(folder);
  for (const auto& [name, content] : files) write_bytes(folder + "/" + name, content);
  return folder;
}

Config config_of(const std::string& config_json) {
  Config config;
  adopt_model(config, config_json, "config.json");
  config.data.sequence_length = 8;
  resolve_config(config, 1);
  return config;
}

std::string checkpoint_of(const ForeignWeights& weights, const Saved& saved) {
  Config config = config_of(weights.config_json());
  config.run.name = "exported";
  config.tokenizer.path = saved.tokenizer;
  config.precision.compute = saved.compute;
  CheckpointInfo info{.step = 3, .config = dump_config(config)};
  if (!saved.weights_dtype.empty()) info.state["weights_dtype"] = saved.weights_dtype;
  const std::string root = fresh_root();
  run_ranks_as_threads(2, [&](std::unique_ptr<ProcessGroup> world) {
    CheckpointWriter writer(root, info);
    std::vector<std::vector<std::byte>> memory;
    for (const auto& entry : weights.tensors()) {
      TensorSlice slice{entry.name, entry.shape, {}, {}};
      slice.local.shape = entry.shape;
      const auto cut = static_cast<std::size_t>(entry.shape.rank - 1);
      const std::int64_t first = entry.shape.dim[cut] / 3;
      slice.offset[cut] = world->rank() == 0 ? 0 : first;
      slice.local.shape.dim[cut] = world->rank() == 0 ? first : entry.shape.dim[cut] - first;
      slice.local.dtype = saved.stored;
      memory.emplace_back(slice.local.bytes());
      slice.local.data = memory.back().data();
      weights.read(slice);
      slice.name = "master/" + entry.name;
      writer.add(slice);
      slice.name = "exp_avg/" + entry.name;
      writer.add(slice);
    }
    std::string error;
    ASSERT_TRUE(writer.commit(*world, error)) << error;
  });
  return root + "/step-00000003";
}

std::string export_to(const std::string& checkpoint, ExportOptions options,
                      const std::string& extension) {
  options.output = fresh_root() + extension;
  export_checkpoint(CheckpointReader(checkpoint), options);
  return options.output;
}

}  // namespace frugal::test
