// Adapters on their way: from PEFT's files into a run on several ranks, into its checkpoint, and
// out of it as PEFT's files, as merged weights, and as a model that generates.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "comm/lone_world.h"
#include "comm/world.h"
#include "kernels/core/threads.h"
#include "nlohmann/json.hpp"
#include "tests/trainer/checkpoint/saved_model.h"
#include "trainer/checkpoint/export.h"
#include "trainer/checkpoint/file_ops.h"
#include "trainer/checkpoint/safetensors_file.h"
#include "trainer/checkpoint/weight_set.h"
#include "trainer/engine/checkpointing.h"
#include "trainer/engine/inference_rank.h"
#include "trainer/engine/rank_model.h"
#include "trainer/engine/weight_source.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Values = std::vector<float>;

// Two letters and the end of a text.
constexpr const char* kTokenizer = R"({"added_tokens": [
    {"id": 2, "content": "<|endoftext|>", "special": true}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}})";

std::string golden(const std::string& kind, const std::string& model) {
  return std::string(FRUGAL_GOLDEN_DIR "/") + kind + "/" + model;
}

std::string tokenizer_folder() {
  static const std::string folder = [] {
    std::string path = fresh_root();
    fs::create_directories(path);
    write_bytes(path + "/tokenizer.json", kTokenizer);
    return path;
  }();
  return folder;
}

// The base with the golden's adapters after no update, as a run on tensor 2 x pipeline 2 saves it.
std::string checkpoint_of(const std::string& model_name, const std::string& base) {
  const std::string root = fresh_root();
  run_ranks_as_threads(4, [&](std::unique_ptr<ProcessGroup> world) {
    set_compute_threads(1);
    Config config = parse_config("model: {init_from: '" + base + "'}\nlora: {init_from: '" +
                                     golden("lora", model_name) + "'}\ntokenizer: {path: '" +
                                     tokenizer_folder() +
                                     "'}\ndata: {sequence_length: 24}\nprecision: {compute: fp32}\n"
                                     "parallelism: {tensor: 2, pipeline: 2}\n",
                                 "test", {});
    const auto foreign = adopt_init_from(config);
    const auto adapter = adopt_adapter_from(config);
    resolve_config(config, 4);
    check_weights(*foreign, config);
    check_adapter(*adapter, config);
    DeviceMesh mesh(std::move(world), {.pipeline = 2, .tensor = 2});
    RankModel model(config, mesh);
    model.load_frozen([&](const TensorSlice& slice) { foreign->read(slice); });
    model.initialize([&](const TensorSlice& slice) { adapter->read(slice); });
    std::string error;
    ASSERT_TRUE(save_checkpoint(
        {.root = root, .run_id = "lora", .digests = {.base = foreign->fingerprint()}}, model,
        {.step = 1, .weights_dtype = "f32"}, mesh.world(), error))
        << error;
  });
  return root + "/step-00000001";
}
std::string checkpoint_of(const std::string& model) {
  return checkpoint_of(model, golden("hf", model));
}

std::string export_to(const std::string& checkpoint, ExportOptions options,
                      const std::string& extension = "") {
  options.output = fresh_root() + extension;
  export_checkpoint(CheckpointReader(checkpoint), options);
  return options.output;
}

Values read_whole(const SliceReader& read, const std::string& name, const Shape& shape) {
  Values out(static_cast<std::size_t>(shape.numel()));
  read({.name = name,
        .global = shape,
        .offset = {},
        .local = {reinterpret_cast<std::byte*>(out.data()), shape, DType::kF32, {}}});
  return out;
}

double relative_norm(const Values& actual, const Values& expected) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual.at(i)) - static_cast<double>(expected[i]), 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

// The logits of the golden's first sequence, whose tokens are given one by one.
Values logits_of(const std::string& path, const std::string& model,
                 const std::vector<std::string>& overrides = {}) {
  const WeightSource source = open_weights(path, overrides, 1);
  const auto inputs = json::parse(std::ifstream(golden("hf", model) + "/golden.json"))["inputs"][0]
                          .get<std::vector<std::int32_t>>();
  DeviceMesh mesh(make_lone_world()->group(), {});
  InferenceRank rank(source.config, mesh, {}, {.sequences = 1, .positions = 32, .new_tokens = 1});
  rank.load(source.weights);
  Values out;
  for (std::size_t t = 0; t < inputs.size(); ++t) {
    const InferenceModel::Feed feed[] = {
        {.begin = static_cast<std::int64_t>(t), .tokens = std::span(inputs).subspan(t, 1)}};
    const auto logits = rank.model().extend(feed);
    out.insert(out.end(), logits.begin(), logits.end());
  }
  return out;
}

Values golden_logits(const std::string& model) {
  Values out;
  const json file = json::parse(std::ifstream(golden("lora", model) + "/golden.json"));
  for (const json& row : file["logits"]) {
    for (const json& value : row) out.push_back(value.get<float>());
  }
  return out;
}

std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

void expect_says(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << "not found: " << part << "\nin: " << message;
}

class LoraFiles : public testing::TestWithParam<const char*> {};

TEST_P(LoraFiles, CheckpointsHoldAdaptersAlone) {
  const CheckpointReader reader(checkpoint_of(GetParam()));
  for (const auto& entry : reader.tensors()) {
    EXPECT_NE(entry.name.find(".lora_"), std::string::npos) << entry.name;
    EXPECT_EQ(entry.dtype, DType::kF32);
  }
}

TEST_P(LoraFiles, PeftInThenOutIsTheSameFile) {
  const std::string from = golden("lora", GetParam());
  const std::string to = export_to(checkpoint_of(GetParam()), {.format = WeightFormat::kPeft});
  const auto adapter = PeftAdapter::open(to);
  Config config =
      parse_config("model: {init_from: '" + golden("hf", GetParam()) + "'}\nlora: {init_from: '" +
                       from + "'}\ndata: {sequence_length: 24}",
                   "test", {});
  adopt_init_from(config);
  adopt_adapter_from(config);
  Config back = config;
  back.lora = {.init_from = to};
  for (const char* key : {"lora.rank", "lora.alpha", "lora.targets"}) back.origins.erase(key);
  adopt_adapter_from(back);
  EXPECT_EQ(back.lora.rank, config.lora.rank);
  EXPECT_EQ(back.lora.alpha, config.lora.alpha);
  EXPECT_EQ(back.lora.targets, config.lora.targets);
  config.tokenizer.path = "none";
  resolve_config(config, 1);
  check_adapter(*adapter, config);
  // The data, behind headers that are spelt otherwise.
  const std::string before = read_bytes(from + "/adapter_model.safetensors");
  const std::string after = read_bytes(to + "/adapter_model.safetensors");
  const auto data_of = [](const std::string& file) {
    std::uint64_t header = 0;
    std::memcpy(&header, file.data(), sizeof(header));
    return file.substr(sizeof(header) + header);
  };
  EXPECT_EQ(data_of(before), data_of(after));
}

TEST_P(LoraFiles, MergedWeightsAreTheSum) {
  const std::string checkpoint = checkpoint_of(GetParam());
  const auto base = ForeignWeights::open(golden("hf", GetParam()));
  const auto adapter = PeftAdapter::open(golden("lora", GetParam()));
  const auto merged = ForeignWeights::open(export_to(checkpoint, {}));
  const auto gguf =
      ForeignWeights::open(export_to(checkpoint, {.format = WeightFormat::kGguf}, ".gguf"));
  const json facts = json::parse(adapter->config_json());
  const std::int64_t rank = facts["r"].get<std::int64_t>();
  const double scale = facts["lora_alpha"].get<double>() / static_cast<double>(rank);
  const auto reader = [](const auto& from) {
    return [&from](const TensorSlice& slice) { from->read(slice); };
  };
  int adapted = 0;
  for (const auto& entry : base->tensors()) {
    SCOPED_TRACE(entry.name);
    Values expected = read_whole(reader(base), entry.name, entry.shape);
    const Values actual = read_whole(reader(merged), entry.name, entry.shape);
    EXPECT_EQ(read_whole(reader(gguf), entry.name, entry.shape), actual);
    const std::string module = entry.name.substr(0, entry.name.rfind('.'));
    const std::string target = module.substr(module.rfind('.') + 1);
    const auto& targets = facts["target_modules"];
    if (!entry.name.ends_with(".weight") ||
        std::ranges::find(targets, json(target)) == targets.end()) {
      EXPECT_EQ(actual, expected);
      continue;
    }
    ++adapted;
    const std::int64_t out = entry.shape[0], in = entry.shape[1];
    const Values a = read_whole(reader(adapter), module + ".lora_A.weight", {rank, in});
    const Values b = read_whole(reader(adapter), module + ".lora_B.weight", {out, rank});
    for (std::int64_t i = 0; i < out * in; ++i) {
      double sum = 0;
      for (std::int64_t r = 0; r < rank; ++r) {
        sum += static_cast<double>(b[static_cast<std::size_t>(i / in * rank + r)]) *
               static_cast<double>(a[static_cast<std::size_t>(r * in + i % in)]);
      }
      expected[static_cast<std::size_t>(i)] += static_cast<float>(scale * sum);
    }
    EXPECT_LE(relative_norm(actual, expected), 1e-6);
  }
  EXPECT_EQ(adapted, 2 * static_cast<int>(facts["target_modules"].size()));
}

// Exports take bands of rows, or of columns.
TEST_P(LoraFiles, MergedBoxesArePartsOfTheWhole) {
  const CheckpointReader reader(checkpoint_of(GetParam()));
  const auto base = ForeignWeights::open(golden("hf", GetParam()));
  const Config config = parse_config(reader.info().config, "config of the run", {});
  const WeightSet merged = merged_weights(reader, *base, config);
  for (const auto& entry : merged.entries) {
    if (entry.global.rank != 2) continue;
    SCOPED_TRACE(entry.name);
    const Values whole = read_whole(merged.read, entry.name, entry.global);
    const std::int64_t columns = entry.global[1];
    const Shape extent{entry.global[0] - 3, columns - 5};
    Values box(static_cast<std::size_t>(extent.numel()));
    merged.read({.name = entry.name,
                 .global = entry.global,
                 .offset = {2, 4},
                 .local = {reinterpret_cast<std::byte*>(box.data()), extent, DType::kF32, {}}});
    for (std::int64_t i = 0; i < extent.numel(); ++i) {
      ASSERT_EQ(box[static_cast<std::size_t>(i)],
                whole[static_cast<std::size_t>((2 + i / extent[1]) * columns + 4 + i % extent[1])]);
    }
  }
}

TEST_P(LoraFiles, GenerateWithTheReferencesLogits) {
  const std::string checkpoint = checkpoint_of(GetParam());
  const Values expected = golden_logits(GetParam());
  EXPECT_LE(relative_norm(logits_of(checkpoint, GetParam()), expected), 1e-4);
  EXPECT_LE(relative_norm(logits_of(export_to(checkpoint, {}), GetParam()), expected), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, LoraFiles, testing::Values("llama3", "qwen2", "qwen3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(LoraBase, MayMoveButNotChange) {
  const std::string base = fresh_root(), moved = fresh_root();
  fs::copy(golden("hf", "llama3"), base);
  const std::string checkpoint = checkpoint_of("llama3", base);
  fs::rename(base, moved);
  const auto here = [&](const std::string& path) {
    return std::vector<std::string>{"model.init_from=" + path};
  };
  expect_says(refusal([&] { open_weights(checkpoint, {}, 1); }),
              "holds adapters of a base model that cannot be read (" + base);
  expect_says(refusal([&] { export_to(checkpoint, {}); }), "model.init_from=PATH");
  EXPECT_LE(relative_norm(logits_of(checkpoint, "llama3", here(moved)), golden_logits("llama3")),
            1e-4);
  export_to(checkpoint, {.base = moved});
  export_to(checkpoint, {.format = WeightFormat::kPeft});  // needs none
  // The last byte of a tensor of 12 KiB.
  const std::string file = moved + "/model.safetensors";
  std::string bytes = read_bytes(file);
  for (const ForeignTensor& tensor : read_safetensors(StoredFile(file), file)) {
    if (tensor.name != "lm_head.weight") continue;
    char& last = bytes.at(static_cast<std::size_t>(tensor.position + tensor.bytes) - 1);
    last = static_cast<char>(last ^ 1);
  }
  write_bytes(file, bytes);
  for (const std::string& other : {moved, golden("hf", "qwen2")}) {
    expect_says(refusal([&] { open_weights(checkpoint, here(other), 1); }),
                other + ": is not the base model beside which the adapters in " + checkpoint +
                    " were trained");
    expect_says(refusal([&] { export_to(checkpoint, {.base = other}); }), "is not the base model");
  }
}

// What a run of such a model would save, without any weight.
std::string empty_checkpoint(const Config& config) {
  const std::string root = fresh_root();
  const auto world = make_lone_world()->group();
  std::string error;
  EXPECT_TRUE(
      CheckpointWriter(root, {.step = 1, .config = dump_config(config)}).commit(*world, error));
  return root + "/step-00000001";
}

TEST(LoraExport, WhatPeftCannotHave) {
  const auto said = [](const Config& config) {
    return refusal([&] { export_to(empty_checkpoint(config), {.format = WeightFormat::kPeft}); });
  };
  expect_says(said(Config{}), "is not of a LoRA run and has no adapters");
  expect_says(said(parse_config("model: {model_type: gpt2}\nlora: {rank: 2}", "test", {})),
              "GPT-2 has queries, keys and values in one transposed matrix");
}

// A folder with this config and these tensors of two rows and two columns.
std::string adapter_folder(const std::string& config, const std::vector<std::string>& names) {
  std::string folder = fresh_root();
  fs::create_directories(folder);
  write_bytes(folder + "/adapter_config.json", config);
  json header;
  std::size_t position = 0;
  for (const std::string& name : names) {
    header[name] = {
        {"dtype", "F32"}, {"shape", {2, 2}}, {"data_offsets", {position, position + 16}}};
    position += 16;
  }
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  write_bytes(folder + "/adapter_model.safetensors",
              std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text +
                  std::string(position, '\0'));
  return folder;
}

TEST(LoraImport, AdaptersThatDoNotFit) {
  const std::string a = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
  const std::string b = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
  const std::string ours_a = a.substr(17), ours_b = b.substr(17);
  const std::vector<ForeignWeights::Expected> fits{{ours_a, {2, 2}}, {ours_b, {2, 2}}};
  const auto said = [&](const std::vector<std::string>& names,
                        const std::vector<ForeignWeights::Expected>& model) {
    return refusal([&] { PeftAdapter::open(adapter_folder("{}", names))->check(model); });
  };
  EXPECT_EQ(said({a, b}, fits), "");
  expect_says(said({a}, fits), "tensor " + b + " is missing");
  expect_says(said({a, b}, {fits[0], {ours_b, {2, 3}}}),
              "tensor " + b + ": the file has [2, 2], the model [2, 3]");
  expect_says(said({a, b}, {fits[0]}), "tensor " + b + ": the model has no such adapter");
  expect_says(said({"encoder.lora_A.weight"}, {}), "does not begin with base_model.model.");
  expect_says(refusal([&] { PeftAdapter::open(fresh_root()); }), "adapter_config.json");
  Config gpt2;
  gpt2.model.model_type = "gpt2";
  expect_says(refusal([&] { check_adapter(*PeftAdapter::open(adapter_folder("{}", {a})), gpt2); }),
              "adapters of GPT-2 cannot be read from PEFT");
}

}  // namespace
}  // namespace frugal::test
