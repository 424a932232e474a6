#include "trainer/checkpoint/export.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "comm/world.h"
#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/allocations.h"
#include "tests/trainer/checkpoint/faulty_files.h"
#include "tests/trainer/checkpoint/foreign_files.h"
#include "tests/trainer/checkpoint/saved_model.h"
#include "trainer/checkpoint/elements.h"
#include "trainer/checkpoint/safetensors_file.h"
#include "trainer/config/config.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A byte-level BPE of six tokens, two of them special.
constexpr const char* kTokenizer = R"({"added_tokens": [
    {"id": 4, "content": "<|begin|>", "special": true}, {"id": 5, "content": "<|endoftext|>", "special": true},
    {"id": 6, "content": "<tool>", "special": false}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "post_processor": null,
  "model": {"type": "BPE", "byte_fallback": false, "vocab": {"a": 0, "b": 1, "ab": 2, "\u0120a": 3},
            "merges": ["a b", ["\u0120", "a"]]}})";

std::string tokenizer_folder(const std::map<std::string, std::string>& files) {
  const std::string folder = fresh_root();
  fs::create_directories(folder);
  for (const auto& [name, content] : files) write_bytes(folder + "/" + name, content);
  return folder;
}

struct Saved {
  std::string tokenizer = tokenizer_folder({{"tokenizer.json", kTokenizer}});
  std::string weights_dtype, compute = "fp32";
  DType stored = DType::kF32;
};

// A run with the model of a config.json.
Config config_of(const std::string& config_json) {
  Config config;
  adopt_model(config, config_json, "config.json");
  config.data.sequence_length = 8;
  resolve_config(config, 1);
  return config;
}

// A checkpoint with these weights, written by two ranks that share matrices by columns and vectors
// by rows.
std::string checkpoint_of(const ForeignWeights& weights, const Saved& saved = {}) {
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
                      const std::string& extension = "") {
  options.output = fresh_root() + extension;
  export_checkpoint(CheckpointReader(checkpoint), options);
  return options.output;
}

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
    // The model is the same for this program too, by the old names and by the new ones.
    const json config = json::parse(read_bytes(one + "/config.json"));
    json old_names = config, new_names = config;
    old_names.erase("rope_parameters");
    new_names.erase("rope_theta");
    for (const json& names : {old_names, new_names}) {
      EXPECT_EQ(dump_config(config_of(weights->config_json())),
                dump_config(config_of(names.dump())));
    }
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

TEST(Export, TokenizersOfGgufs) {
  const auto weights = ForeignWeights::open(golden("llama"));
  const auto export_with = [&](const std::map<std::string, std::string>& files) {
    return ForeignWeights::open(
        export_to(checkpoint_of(*weights, {.tokenizer = tokenizer_folder(files)}),
                  {.format = WeightFormat::kGguf}, ".gguf"));
  };
  const auto plain = export_with({{"tokenizer.json", kTokenizer}});
  const GgufTokenizer& tokenizer = *plain->tokenizer();
  EXPECT_EQ(tokenizer.model, "gpt2");
  EXPECT_EQ(tokenizer.pre, "gpt-2");
  ASSERT_EQ(tokenizer.tokens.size(), 131U);
  EXPECT_EQ(std::vector(tokenizer.tokens.begin(), tokenizer.tokens.begin() + 8),
            (std::vector<std::string>{"a", "b", "ab", "\u0120a", "<|begin|>", "<|endoftext|>",
                                      "<tool>", "[PAD7]"}));
  EXPECT_EQ(std::vector(tokenizer.types.begin(), tokenizer.types.begin() + 8),
            (std::vector<int>{1, 1, 1, 1, 3, 3, 4, 5}));
  EXPECT_EQ(tokenizer.merges, (std::vector<std::string>{"a b", "\u0120 a"}));
  EXPECT_EQ(tokenizer.bos, 5);
  EXPECT_EQ(tokenizer.eos, 5);
  EXPECT_FALSE(tokenizer.add_bos);
  EXPECT_EQ(tokenizer.chat_template, "");

  json llama3 = json::parse(kTokenizer);
  llama3["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"},
         {"pattern",
          {{"Regex",
            R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re"}}},
         {"behavior", "Isolated"},
         {"invert", false}},
        {{"type", "ByteLevel"},
         {"add_prefix_space", false},
         {"trim_offsets", true},
         {"use_regex", false}}}}};
  llama3["post_processor"] =
      json::parse(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"},
      {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}},
                                                {"Sequence": {"id": "A", "type_id": 0}}]}]})");
  const auto other =
      export_with({{"tokenizer.json", llama3.dump()},
                   {"tokenizer_config.json", R"({"bos_token": {"content": "<|begin|>"},
                                      "eos_token": "<|endoftext|>", "chat_template": "{{ x }}"})"}});
  EXPECT_EQ(other->tokenizer()->pre, "llama-bpe");
  EXPECT_TRUE(other->tokenizer()->add_bos);
  EXPECT_EQ(other->tokenizer()->bos, 4);
  EXPECT_EQ(other->tokenizer()->eos, 5);
  EXPECT_EQ(other->tokenizer()->chat_template, "{{ x }}");

  json unknown = llama3;
  unknown["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = ".";
  json wide = json::parse(kTokenizer);
  wide["model"]["vocab"]["c"] = 131;
  json other_model = json::parse(kTokenizer);
  other_model["model"]["type"] = "Unigram";
  for (const auto& [text, why] :
       {std::pair{unknown.dump(), "its pre_tokenizer has no name in GGUF"},
        {wide.dump(), "the id 131 is none of the model's 131"},
        {other_model.dump(), "not a byte-level BPE"},
        {std::string("{}"), "not a byte-level BPE"},
        {std::string("{"), "not JSON"}}) {
    const std::string said = refusal([&, &text = text] {
      export_with({{"tokenizer.json", text}});
    });
    EXPECT_NE(said.find(why), std::string::npos) << said;
  }
}

TEST(Export, TokenizerFilesOfFolders) {
  const auto weights = ForeignWeights::open(golden("llama"));
  const auto export_with = [&](const std::map<std::string, std::string>& files) {
    return export_to(checkpoint_of(*weights, {.tokenizer = tokenizer_folder(files)}), {});
  };
  // Its own tokenizer: what is missing is made.
  const std::string own = export_with({{"tokenizer.json", kTokenizer}, {"other.txt", "x"}});
  EXPECT_EQ(read_bytes(own + "/tokenizer.json"), kTokenizer);
  EXPECT_FALSE(fs::exists(own + "/other.txt"));
  EXPECT_EQ(json::parse(read_bytes(own + "/tokenizer_config.json")),
            json::parse(R"({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64,
                "clean_up_tokenization_spaces": false, "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})"));
  const auto generation = json::parse(read_bytes(own + "/generation_config.json"));
  EXPECT_EQ(generation["bos_token_id"], 5);
  EXPECT_EQ(generation["eos_token_id"], 5);
  // One that came with a model stays as it is.
  const std::map<std::string, std::string> files = {
      {"tokenizer.json", kTokenizer},
      {"tokenizer_config.json", R"({"eos_token": "<tool>"})"},
      {"special_tokens_map.json", "{}"},
      {"chat_template.jinja", "{{ x }}"},
      {"generation_config.json",
       R"({"bos_token_id": 4, "eos_token_id": [5, 6], "temperature": 0.6})"}};
  const std::string foreign = export_with(files);
  for (const auto& [name, content] : files) {
    const std::string copy = read_bytes(foreign + "/" + name);
    EXPECT_EQ(copy == content, name != "generation_config.json") << name;
  }
  const auto ids = json::parse(read_bytes(foreign + "/config.json"));
  EXPECT_EQ(ids["bos_token_id"], 4);
  EXPECT_EQ(ids["eos_token_id"], json::parse("[5, 6]"));
  EXPECT_NE(refusal([&] { export_with({}); }).find("holds no tokenizer.json"), std::string::npos);
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

// Matrices of 48 MB each way, transposed and with heads: bands are enough.
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
                R"(":{"dtype":"F32","shape":[4000,3000],"data_offsets":[16,48000016]}})",
            std::string(48000016, '\1')));
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
