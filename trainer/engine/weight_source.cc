#include "trainer/engine/weight_source.h"

#include <algorithm>
#include <filesystem>

#include "kernels/ops/cache.h"
#include "trainer/checkpoint/weight_set.h"
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

// What files hold of the config's model: its adapters, or all but those.
std::vector<ForeignWeights::Expected> expected_params(const Config& config, bool adapters) {
  std::vector<ForeignWeights::Expected> expected;
  for (const ParamSpec& spec : all_params(model_dimensions(config, 0))) {
    if (spec.adapter == adapters) expected.push_back({spec.name, spec.global});
  }
  return expected;
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
  std::error_code none;
  if (!std::filesystem::exists(config.model.init_from, none)) {
    fail(ErrorKind::kData, "model.init_from: ", config.model.init_from,
         " does not exist; a run that resumes reads its config and tokenizer too");
  }
  std::shared_ptr<const ForeignWeights> foreign = ForeignWeights::open(config.model.init_from);
  adopt(config, *foreign);
  return foreign;
}

std::shared_ptr<const PeftAdapter> adopt_adapter_from(Config& config) {
  if (config.lora.init_from.empty()) return nullptr;
  std::shared_ptr<const PeftAdapter> adapter = PeftAdapter::open(config.lora.init_from);
  adopt_adapter(config, adapter->config_json(), adapter->folder() + "/adapter_config.json");
  return adapter;
}

void check_weights(const ForeignWeights& foreign, const Config& config) {
  foreign.check(expected_params(config, false));
}

void check_adapter(const PeftAdapter& adapter, const Config& config) {
  if (config.model.model_type == "gpt2") {
    fail(ErrorKind::kData, adapter.folder(),
         ": adapters of GPT-2 cannot be read from PEFT: it has queries, keys and values in one "
         "matrix");
  }
  adapter.check(expected_params(config, true));
}

WeightSource open_weights(const std::string& path, std::span<const std::string> overrides,
                          int ranks) {
  WeightSource out;
  std::shared_ptr<const ForeignWeights> base;  // of adapters
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
    // A tokenizer that came with the model moves with it.
    const bool beside = saved.tokenizer.path == saved.model.init_from;
    if (beside) saved.tokenizer.path.clear();
    out.config = parse_config(dump_config(saved), path + "/config of the run", overrides);
    if (beside && out.config.tokenizer.path.empty()) {
      out.config.tokenizer.path = out.config.model.init_from;
    }
    out.weights = [reader, read = weights_of(*reader)](const TensorSlice& slice) { read(slice); };
    if (out.config.lora.rank > 0) {
      base = open_base(*reader, out.config.model.init_from);
      out.weights = [base, reader, adapters = out.weights](const TensorSlice& slice) {
        reader->has(std::string(kWeightKind) + slice.name) ? adapters(slice) : base->read(slice);
      };
    }
    const auto& identity = reader->info().identity;
    const auto digest = identity.find("tokenizer");
    if (digest != identity.end()) out.tokenizer_digest = digest->second;
  }
  shrink(out.config, ranks);
  resolve_config(out.config, ranks);
  if (out.config.model.head_dim > kWidestCachedHead) {
    fail(ErrorKind::kData, path, ": its model.head_dim is ", out.config.model.head_dim,
         "; texts can be generated and evaluated with at most ", kWidestCachedHead);
  }
  if (!out.config.model.vocab_size) {
    fail(ErrorKind::kData, path, ": its config does not say model.vocab_size");
  }
  if (out.foreign) check_weights(*out.foreign, out.config);
  if (base) check_weights(*base, out.config);
  return out;
}

}  // namespace frugal
