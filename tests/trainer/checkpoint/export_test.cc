
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/allocations.h"
#include "tests/trainer/checkpoint/exported.h"
#include "tests/trainer/checkpoint/faulty_files.h"
#include "tests/trainer/checkpoint/foreign_files.h"
#include "tests/trainer/checkpoint/saved_model.h"
#include "trainer/checkpoint/elements.h"
#include "trainer/checkpoint/safetensors_file.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Name to dtype, shape and bytes.
std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> out;
  const ForeignFiles in = open_safetensors_folder(folder);
  for (const ForeignTensor& tensor : in.tensors) {
    std::string bytes(static_cast<std::size_t>(tensor.bytes), '\0');
    in.files[static_cast<std::size_t>(tensor.file)].file->read(
        tensor.position, std::as_writable_bytes(std::span(bytes)));
    std::string what = tensor.type;
    for (const std::int64_t size : tensor.shape) what += concat(" ", size);
    out[tensor.name] = what + "\n" + bytes;
  }
  return out;
}

std::string folder_of(const std::string& name) {
  return std::string(FRUGAL_GOLDEN_DIR) + "/" + name;
}

constexpr const char* kFolders[] = {"foreign/llama", "foreign/qwen2",   "foreign/gpt2", "hf/gpt2",
                                    "hf/llama3",     "hf/llama_biases", "hf/qwen2",     "hf/qwen3"};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

TEST(Export, ImportAndExportGiveTheSameBytes) {
  for (const char* name : kFolders) {
    SCOPED_TRACE(name);
    const auto weights = ForeignWeights::open(folder_of(name));
    const std::string checkpoint =
        checkpoint_of(*weights, {.weights_dtype = lower(weights->type())});
    const auto expected = contents(folder_of(name));
    const std::string one = export_to(checkpoint, {});
    EXPECT_TRUE(fs::exists(one + "/model.safetensors"));
    EXPECT_TRUE(contents(one) == expected);
    const std::string many = export_to(checkpoint, {.max_shard_bytes = 9000});
    EXPECT_FALSE(fs::exists(many + "/model.safetensors"));
    EXPECT_TRUE(fs::exists(many + "/model.safetensors.index.json"));
    EXPECT_TRUE(contents(many) == expected);
    const auto index = json::parse(read_bytes(many + "/model.safetensors.index.json"));
    EXPECT_EQ(index["weight_map"].size(), expected.size());
    // The model is the same for this program too.
    EXPECT_EQ(dump_config(config_of(weights->config_json())),
              dump_config(config_of(read_bytes(one + "/config.json"))));
  }
}

TEST(Export, OldGpt2sGetTheNamesOfToday) {
  const auto weights = ForeignWeights::open(golden("gpt2-old"));
  EXPECT_TRUE(contents(export_to(checkpoint_of(*weights), {})) == contents(golden("gpt2")));
}

TEST(Export, WeightsFollowInTheOrderOfTheModel) {
  const std::string out = export_to(checkpoint_of(*ForeignWeights::open(golden("llama"))), {});
  std::vector<std::string> names;
  for (const ForeignTensor& tensor : open_safetensors_folder(out).tensors)
    names.push_back(tensor.name);
  ASSERT_EQ(names.size(), 21U);
  EXPECT_EQ(names.front(), "model.embed_tokens.weight");
  EXPECT_EQ(names[1], "model.layers.0.input_layernorm.weight");
  EXPECT_EQ(names[10], "model.layers.1.input_layernorm.weight");
  EXPECT_EQ(names[19], "model.norm.weight");
  EXPECT_EQ(names.back(), "lm_head.weight");
}

TEST(Export, DtypesThatTheRunAndTheUserAskFor) {
  const auto weights = ForeignWeights::open(folder_of("hf/llama3"));
  const auto type = [](const std::string& folder) { return ForeignWeights::open(folder)->type(); };
  const std::string fp32 = checkpoint_of(*weights),
                    bf16 = checkpoint_of(*weights, {.compute = "bf16"});
  EXPECT_EQ(type(export_to(fp32, {})), "F32");
  EXPECT_EQ(type(export_to(bf16, {})), "BF16");
  EXPECT_EQ(type(export_to(checkpoint_of(*weights, {.weights_dtype = "f16"}), {})), "F16");
  EXPECT_EQ(type(export_to(checkpoint_of(*weights, {.weights_dtype = "f16"}), {.dtype = "bf16"})),
            "BF16");
  const auto config = json::parse(read_bytes(export_to(fp32, {.dtype = "f16"}) + "/config.json"));
  EXPECT_EQ(config["torch_dtype"], "float16");
  EXPECT_EQ(config["dtype"], "float16");
  // Rounded to nearest from float32; a checkpoint without float32 masters holds the same.
  const auto rounded = ForeignWeights::open(export_to(fp32, {.dtype = "bf16"}));
  for (const auto& entry : weights->tensors()) {
    const auto exact = read_whole<float>(*weights, entry);
    const auto values = read_whole<float>(*rounded, entry);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      ASSERT_EQ(values[i], static_cast<float>(BFloat16(exact[i])));
    }
  }
  const std::string no_masters = checkpoint_of(*weights, {.stored = DType::kBF16});
  EXPECT_TRUE(contents(export_to(no_masters, {.dtype = "bf16"})) ==
              contents(export_to(fp32, {.dtype = "bf16"})));
}

TEST(Export, GgufsHoldTheModelAndItsConfig) {
  for (const char* name : kFolders) {
    SCOPED_TRACE(name);
    const auto weights = ForeignWeights::open(folder_of(name));
    const std::string path = export_to(checkpoint_of(*weights),
                                       {.format = WeightFormat::kGguf, .dtype = "f32"}, ".gguf");
    const auto back = ForeignWeights::open(path);
    ASSERT_EQ(back->tensors().size(), weights->tensors().size());
    for (const auto& entry : weights->tensors()) {
      ASSERT_EQ(read_whole<float>(*back, entry), read_whole<float>(*weights, entry)) << entry.name;
    }
    const Config before = config_of(weights->config_json());
    Config after = config_of(back->config_json());
    // Not in a GGUF, and of no effect on weights that are there.
    after.model.initializer_range = before.model.initializer_range;
    if (before.model.rope_type == "llama3") {
      EXPECT_EQ(after.model.rope_type, "llama3");
      // Of few pairs other parameters give the same factors.
      after.model.rope_original_max_position_embeddings =
          before.model.rope_original_max_position_embeddings;
      after.model.rope_factor = before.model.rope_factor;
      after.model.rope_low_freq_factor = before.model.rope_low_freq_factor;
      after.model.rope_high_freq_factor = before.model.rope_high_freq_factor;
    }
    EXPECT_EQ(dump_config(before), dump_config(after));
  }
}

TEST(Export, GgufDtypes) {
  const auto weights = ForeignWeights::open(golden("llama.gguf"));
  const std::string checkpoint = checkpoint_of(*weights);
  for (const std::string dtype : {"f16", "bf16", "q8_0"}) {
    const auto back = ForeignWeights::open(
        export_to(checkpoint, {.format = WeightFormat::kGguf, .dtype = dtype}, ".gguf"));
    EXPECT_EQ(lower(back->type()), dtype);
    for (const auto& entry : back->tensors()) {
      EXPECT_EQ(lower(entry.type), entry.shape.rank == 1 ? "f32" : dtype) << entry.name;
      auto expected = read_whole<float>(*weights, entry);
      if (entry.shape.rank == 2) {
        const ElementType type = dtype == "f16"    ? ElementType::kF16
                                 : dtype == "bf16" ? ElementType::kBF16
                                                   : ElementType::kQ8_0;
        const ElementLayout& layout = layout_of(type);
        std::vector<std::byte> blocks(expected.size() / static_cast<std::size_t>(layout.block) *
                                      static_cast<std::size_t>(layout.bytes));
        encode_blocks(type, expected, blocks);
        decode_blocks(type, blocks, expected);
      }
      ASSERT_EQ(read_whole<float>(*back, entry), expected) << entry.name;
    }
  }
  // Rows that are no whole blocks, and position tables.
  const auto gpt2 =
      ForeignWeights::open(export_to(checkpoint_of(*ForeignWeights::open(golden("gpt2"))),
                                     {.format = WeightFormat::kGguf, .dtype = "q8_0"}, ".gguf"));
  for (const auto& entry : gpt2->tensors()) {
    const bool table = entry.name == "model.embed_positions.weight";
    EXPECT_EQ(entry.type, entry.shape.rank == 1 || table ? "F32" : "F16");
  }
}

std::string said_by(const std::function<void()>& work, ErrorKind kind) {
  try {
    work();
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
}

TEST(Export, WhatExistsIsNotOverwritten) {
  const std::string checkpoint = checkpoint_of(*ForeignWeights::open(golden("llama")));
  const CheckpointReader reader(checkpoint);
  const std::string file = new_file("mine", ".gguf");
  const auto said =
      said_by([&] { export_checkpoint(reader, {.format = WeightFormat::kGguf, .output = file}); },
              ErrorKind::kUsage);
  EXPECT_NE(said.find("exists and is not overwritten"), std::string::npos);
  EXPECT_EQ(read_bytes(file), "mine");
  FaultyFiles files;  // said before anything is written
  said_by([&] { export_checkpoint(reader, {.output = file, .files = &files}); }, ErrorKind::kUsage);
  EXPECT_EQ(files.operations(), 0);
  const std::string folder = fresh_root();
  fs::create_directories(folder);
  EXPECT_NE(
      said_by([&] { export_checkpoint(reader, {.output = folder + "/"}); }, ErrorKind::kUsage), "");
  fs::create_symlink("nowhere", folder + "/link");
  EXPECT_NE(
      said_by([&] { export_checkpoint(reader, {.output = folder + "/link"}); }, ErrorKind::kUsage),
      "");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
  // Folders above are made.
  export_checkpoint(reader, {.output = folder + "/a/b/"});
  EXPECT_TRUE(fs::exists(folder + "/a/b/model.safetensors"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder + "/a"), {}), 1);
}

TEST(Export, DtypesThatFormatsDoNotHave) {
  const CheckpointReader reader(checkpoint_of(*ForeignWeights::open(golden("llama"))));
  for (const char* dtype : {"q8_0", "int8", "F32"}) {
    const auto said =
        said_by([&] { export_checkpoint(reader, {.output = fresh_root(), .dtype = dtype}); },
                ErrorKind::kUsage);
    EXPECT_NE(said.find("hf has bf16, f16 and f32"), std::string::npos) << said;
  }
}

TEST(Export, AnyFailureLeavesNothing) {
  const CheckpointReader reader(checkpoint_of(*ForeignWeights::open(golden("qwen2"))));
  for (const WeightFormat format : {WeightFormat::kHuggingFace, WeightFormat::kGguf}) {
    FaultyFiles counting;
    const std::string parent = fresh_root();
    const auto run = [&](FaultyFiles& files, const std::string& output) {
      export_checkpoint(
          reader,
          {.format = format, .output = parent + output, .max_shard_bytes = 9000, .files = &files});
    };
    run(counting, "/first");
    ASSERT_GT(counting.operations(), 8);
    for (int operation = 0; operation + 1 < counting.operations(); ++operation) {
      FaultyFiles files;
      files.fail_at(operation, ENOSPC);
      const std::string said = said_by([&] { run(files, "/second"); }, ErrorKind::kData);
      if (said.empty()) continue;  // making a folder that exists
      EXPECT_NE(said.find("No space left"), std::string::npos) << operation << said;
      EXPECT_EQ(std::distance(fs::directory_iterator(parent), {}), 1) << operation;
    }
  }
}

TEST(Export, ValuesThatDoNotFitAreSaid) {
  const std::string folder = fresh_root();
  fs::create_directories(folder);
  write_bytes(folder + "/config.json", read_bytes(golden("llama/config.json")));
  const std::vector<float> values(32 * 131, 70000.0F);
  write_bytes(
      folder + "/model.safetensors",
      safetensors_bytes(
          R"({"model.embed_tokens.weight":{"dtype":"F32","shape":[131,32],"data_offsets":[0,16768]}})",
          {reinterpret_cast<const char*>(values.data()), values.size() * 4}));
  const CheckpointReader reader(checkpoint_of(*ForeignWeights::open(folder)));
  const std::string output = fresh_root();
  const auto said = said_by([&] { export_checkpoint(reader, {.output = output, .dtype = "f16"}); },
                            ErrorKind::kData);
  EXPECT_NE(said.find("tensor model.embed_tokens.weight: a value does not fit F16"),
            std::string::npos)
      << said;
  EXPECT_FALSE(fs::exists(output));
  export_checkpoint(reader, {.output = output, .dtype = "bf16"});
}

TEST(Export, CheckpointsThatAreNoModel) {
  save_on_threads(1, fresh_root(), 1, Cut::kWhole);
  const std::string root = fresh_root();
  save_on_threads(1, root, 1, Cut::kWhole);
  const auto said = said_by(
      [&] {
        export_checkpoint(CheckpointReader(root + "/step-00000001"), {.output = fresh_root()});
      },
      ErrorKind::kData);
  EXPECT_FALSE(said.empty());
}

// Matrices of 24 MB each way, transposed and with heads: bands are enough.
TEST(Export, MemoryIsThatOfBands) {
  for (const auto& [golden_name, name] : {std::pair{"gpt2", "h.0.mlp.c_fc.weight"},
                                          {"llama", "model.layers.0.self_attn.q_proj.weight"},
                                          {"llama", "lm_head.weight"}}) {
    const std::string folder = fresh_root();
    fs::create_directories(folder);
    write_bytes(folder + "/config.json",
                read_bytes(golden(std::string(golden_name) + "/config.json")));
    const bool gpt2 = std::string(golden_name) == "gpt2";
    const std::string table = gpt2 ? "wte.weight" : "model.embed_tokens.weight";
    write_bytes(
        folder + "/model.safetensors",
        safetensors_bytes(
            "{\"" + table + R"(":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]},")" + name +
                R"(":{"dtype":"F32","shape":[3000,2000],"data_offsets":[16,24000016]}})",
            std::string(std::size_t{24'000'016}, '\1')));
    const std::string checkpoint = checkpoint_of(*ForeignWeights::open(folder));
    const CheckpointReader reader(checkpoint);
    const std::string output = fresh_root();
    const LargestAllocation largest;
    export_checkpoint(reader, {.output = output});
    EXPECT_LE(largest.bytes(), std::size_t{17} << 20) << name;
    const std::string there = gpt2 ? std::string("transformer.") + name : name;
    EXPECT_TRUE(contents(output).at(there) == contents(folder).at(name));
  }
}

}  // namespace
}  // namespace frugal::test
