#include "trainer/engine/weight_source.h"

#include <algorithm>
#include <filesystem>

#include "trainer/model/model.h"

namespace frugal {
namespace {

bool has_file(const std::string& folder, const char* name) {
  std::error_code none;
  return std::filesystem::exists(std::filesystem::path(folder) / name, none);
}

bool is_foreign(const std::string& path) {
  return path.ends_with(".gguf") || has_file(path, "config.json");
}

void adopt(Config& config, const ForeignWeights& foreign) {
  const bool folder = !foreign.path().ends_with(".gguf");
  adopt_model(config, foreign.config_json(), foreign.path() + (folder ? "/config.json" : ""));
  const bool tokenizer =
      folder ? has_file(foreign.path(), "tokenizer.json") : foreign.tokenizer() != nullptr;
  if (config.tokenizer.path.empty() && tokenizer) {
    config.tokenizer.path = foreign.path();
  }
}

std::string precision_for(const std::string& type) {
  return type == "F32" ? "fp32" : type == "F16" ? "fp16" : "bf16";
}

// Nothing of a training: one short sequence at a time, on each replica.
void shrink(Config& config, int ranks) {
  const int replica = config.parallelism.pipeline * config.parallelism.tensor;
  config.batch = {.micro_batch_size = 1, .global_batch_size = std::max(1, ranks / replica)};
  config.data = {.train = {}, .validation = {}, .sequence_length = config.parallelism.tensor};
  config.train = {.threads = config.train.threads};
  config.eval = {.interval = 0, .batches = 1};
  config.sample = {};
}

}  // namespace

std::shared_ptr<const ForeignWeights> adopt_init_from(Config& config) {
  if (config.model.init_from.empty()) return nullptr;
  std::shared_ptr<const ForeignWeights> foreign = ForeignWeights::open(config.model.init_from);
  adopt(config, *foreign);
  return foreign;
}

void check_weights(const ForeignWeights& foreign, const Config& config) {
  std::vector<ForeignWeights::Expected> expected;
  for (const ParamSpec& spec : all_params(model_dimensions(config, 0))) {
    expected.push_back({spec.name, spec.global});
  }
  foreign.check(expected);
}

WeightSource open_weights(const std::string& path, std::span<const std::string> overrides,
                          int ranks) {
  WeightSource out;
  if (is_foreign(path)) {
    out.foreign = ForeignWeights::open(path);
    out.config = parse_config("", "", overrides);
    adopt(out.config, *out.foreign);
    if (!out.config.origins.contains("precision.compute")) {
      out.config.precision.compute = precision_for(out.foreign->type());
    }
    out.weights = [foreign = out.foreign](const TensorSlice& slice) { foreign->read(slice); };
  } else {
    const auto reader = std::make_shared<const CheckpointReader>(path);
    // The layout of the training is no concern of this one.
    Config saved = parse_config(reader->info().config, path + "/config of the run", {});
    saved.parallelism = {};
    saved.device = "auto";
    out.config = parse_config(dump_config(saved), path + "/config of the run", overrides);
    out.weights = [reader, read = weights_of(*reader)](const TensorSlice& slice) { read(slice); };
    const auto& identity = reader->info().identity;
    const auto digest = identity.find("tokenizer");
    if (digest != identity.end()) out.tokenizer_digest = digest->second;
  }
  shrink(out.config, ranks);
  resolve_config(out.config, ranks);
  if (!out.config.model.vocab_size) {
    fail(ErrorKind::kData, path, ": its config does not say model.vocab_size");
  }
  if (out.foreign) check_weights(*out.foreign, out.config);
  return out;
}

}  // namespace frugal
