#include "trainer/checkpoint/foreign_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <thread>

#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/allocations.h"
#include "tests/trainer/checkpoint/foreign_files.h"
#include "tests/trainer/checkpoint/saved_model.h"
#include "trainer/checkpoint/box.h"
#include "trainer/checkpoint/rope_scaling.h"
#include "trainer/checkpoint/weight_names.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolders[] = {"llama", "qwen2", "gpt2", "gpt2-old"};
constexpr const char* kFiles[] = {"llama.gguf", "gpt2.gguf"};

std::vector<std::unique_ptr<ForeignWeights>> all_goldens() {
  std::vector<std::unique_ptr<ForeignWeights>> all;
  for (const char* name : kFolders) all.push_back(ForeignWeights::open(golden(name)));
  for (const char* name : kFiles) all.push_back(ForeignWeights::open(golden(name)));
  return all;
}

std::vector<ForeignWeights::Expected> model_of(const ForeignWeights& weights) {
  std::vector<ForeignWeights::Expected> model;
  for (const auto& entry : weights.tensors()) model.push_back({entry.name, entry.shape});
  return model;
}

TEST(ForeignWeights, FoldersHoldWhatTransformersSaved) {
  for (const std::string name : kFolders) {
    SCOPED_TRACE(name);
    const auto weights = ForeignWeights::open(golden(name));
    EXPECT_EQ(weights->config_json(), read_bytes(golden(name + "/config.json")));
    EXPECT_EQ(weights->tokenizer(), nullptr);
    EXPECT_EQ(weights->type(), name == "llama" ? "BF16" : name == "qwen2" ? "F16" : "F32");
    expect_golden(*weights, golden(name + "/expected.json"));
  }
}

TEST(ForeignWeights, GgufFilesHoldWhatTheReferenceDequantises) {
  const auto llama = ForeignWeights::open(golden("llama.gguf"));
  expect_golden(*llama, golden("llama.json"));
  EXPECT_EQ(llama->type(), "Q4_1");
  expect_golden(*ForeignWeights::open(golden("gpt2.gguf")), golden("gpt2.json"));
}

TEST(ForeignWeights, ConfigsOfGgufs) {
  const auto llama =
      nlohmann::json::parse(ForeignWeights::open(golden("llama.gguf"))->config_json());
  EXPECT_EQ(llama,
            nlohmann::json::parse(R"({"attention_bias": false, "bos_token_id": 1, "eos_token_id": 2,
      "head_dim": 8, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 64,
      "mlp_bias": false, "model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2,
      "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0,
      "tie_word_embeddings": true, "vocab_size": 131})"));
  const auto gpt2 = nlohmann::json::parse(ForeignWeights::open(golden("gpt2.gguf"))->config_json());
  EXPECT_EQ(gpt2, nlohmann::json::parse(
                      R"({"activation_function": "gelu_new", "layer_norm_epsilon": 1e-05,
      "model_type": "gpt2", "n_embd": 20, "n_head": 5, "n_inner": 80, "n_layer": 1, "n_positions": 13,
      "tie_word_embeddings": true, "vocab_size": 67})"));
}

TEST(ForeignWeights, TokenizersOfGgufs) {
  const auto weights = ForeignWeights::open(golden("llama.gguf"));
  const GgufTokenizer* tokenizer = weights->tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->model, "gpt2");
  EXPECT_EQ(tokenizer->pre, "smollm");
  EXPECT_EQ(tokenizer->tokens.size(), 131U);
  EXPECT_EQ(tokenizer->tokens[130], "t130");
  EXPECT_EQ(tokenizer->types.size(), 131U);
  EXPECT_EQ(tokenizer->types[0], 3);
  EXPECT_EQ(tokenizer->merges, (std::vector<std::string>{"a b", "c d"}));
  EXPECT_EQ(tokenizer->bos, 1);
  EXPECT_EQ(tokenizer->eos, 2);
  EXPECT_EQ(tokenizer->unknown, std::nullopt);
  EXPECT_FALSE(tokenizer->add_bos);
}

// Any box is the same numbers as in the whole tensor, in every dtype.
template <class T>
void expect_boxes(const ForeignWeights& weights, std::mt19937& random) {
  for (const auto& entry : weights.tensors()) {
    const auto whole = read_whole<float>(weights, entry);
    for (int round = 0; round < 8; ++round) {
      TensorSlice slice{entry.name, entry.shape, {}, {}};
      slice.local.shape = entry.shape;
      for (int d = 0; d < entry.shape.rank; ++d) {
        const auto i = static_cast<std::size_t>(d);
        const auto size = static_cast<unsigned>(entry.shape[d]);
        slice.offset[i] = random() % (size + 1);
        slice.local.shape.dim[i] = random() % (size - slice.offset[i] + 1);
      }
      std::vector<T> values(static_cast<std::size_t>(slice.local.shape.numel()));
      slice.local = {
          reinterpret_cast<std::byte*>(values.data()), slice.local.shape, dtype_of<T>(), {}};
      weights.read(slice);
      for_each_common_run({slice.offset, slice.local.shape}, {{}, entry.shape},
                          [&](std::int64_t mine, std::int64_t theirs, std::int64_t count) {
                            for (std::int64_t i = 0; i < count; ++i) {
                              const T expected(whole[static_cast<std::size_t>(theirs + i)]);
                              const T got = values[static_cast<std::size_t>(mine + i)];
                              ASSERT_EQ(static_cast<float>(got), static_cast<float>(expected))
                                  << weights.path() << " " << entry.name;
                            }
                          });
    }
  }
}

TEST(ForeignWeights, BoxesInEveryDtype) {
  std::mt19937 random(1);
  for (const auto& weights : all_goldens()) {
    expect_boxes<float>(*weights, random);
    expect_boxes<BFloat16>(*weights, random);
    expect_boxes<Float16>(*weights, random);
  }
}

TEST(ForeignWeights, ThreadsReadAtOnce) {
  const auto weights = ForeignWeights::open(golden("gpt2"));
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      expect_boxes<float>(*weights, random);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// A matrix of 5000 x 3001 as [in, out]: longer than every buffer, both ways; columns that are
// wider.
TEST(ForeignWeights, LargeTransposedMatricesTakeLittleMemory) {
  const std::string folder = fresh_root();
  fs::create_directories(folder);
  fs::copy(golden("gpt2/config.json"), folder);
  for (const auto& [in, out] : {std::pair<std::int64_t, std::int64_t>{500, 3001}, {3, 300001}}) {
    std::vector<float> stored(static_cast<std::size_t>(in * out));
    for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<float>(i);
    const std::string bytes(reinterpret_cast<const char*>(stored.data()), stored.size() * 4);
    write_bytes(folder + "/model.safetensors",
                safetensors_bytes(concat(R"({"h.0.mlp.c_fc.weight":{"dtype":"F32","shape":[)", in,
                                         ",", out, R"(],"data_offsets":[0,)", bytes.size(), "]}}"),
                                  bytes));
    const auto weights = ForeignWeights::open(folder);
    std::vector<BFloat16> narrow(stored.size());
    std::vector<float> wide(stored.size());
    const std::string name = "model.layers.0.mlp.up_proj.weight";
    const LargestAllocation largest;
    weights->read({name,
                   {out, in},
                   {},
                   {reinterpret_cast<std::byte*>(narrow.data()), {out, in}, DType::kBF16, {}}});
    weights->read({name,
                   {out, in},
                   {},
                   {reinterpret_cast<std::byte*>(wide.data()), {out, in}, DType::kF32, {}}});
    EXPECT_LE(largest.bytes(), std::size_t{1} << 20);
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t i = 0; i < in; ++i) {
        const auto at = static_cast<std::size_t>(o * in + i);
        const float expected = static_cast<float>(i * out + o);
        ASSERT_EQ(wide[at], expected);
        ASSERT_EQ(narrow[at].bits, BFloat16(expected).bits);
      }
    }
  }
}

TEST(ForeignWeights, WhatFitsAModel) {
  for (const auto& weights : all_goldens()) weights->check(model_of(*weights));
}

TEST(ForeignWeights, EveryDifferenceToTheModelAtOnceUnderTheNameOfTheFile) {
  const auto weights = ForeignWeights::open(golden("gpt2"));
  auto model = model_of(*weights);
  const auto find = [&](const std::string& name) {
    return std::ranges::find(model, name, &ForeignWeights::Expected::name);
  };
  for (const char* part : {"q", "k", "v"}) {  // one tensor there
    find(concat("model.layers.0.self_attn.", part, "_proj.weight"))->shape = {24, 20};
  }
  find("model.layers.1.mlp.up_proj.bias")->shape = {81};
  model.erase(find("model.norm.bias"));
  model.push_back({"model.layers.2.input_layernorm.weight", {20}});
  const std::string said = refusal([&] { weights->check(model); });
  for (const char* line :
       {"\n  transformer.h.0.attn.c_attn.weight: the file has [20, 60], the model [20, 72]",
        "\n  transformer.h.1.mlp.c_fc.bias: the file has [80], the model [81]",
        "\n  transformer.ln_f.bias: [20], the model has no such tensor",
        "\n  transformer.h.2.ln_1.weight: is missing ([20] in the model)"}) {
    EXPECT_NE(said.find(line), std::string::npos) << said;
  }
  EXPECT_EQ(std::ranges::count(said, '\n'), 4) << said;
  // Reading one that does not fit says the same.
  float value = 0.0F;
  const TensorSlice slice{"model.layers.1.mlp.up_proj.bias",
                          {81},
                          {},
                          {reinterpret_cast<std::byte*>(&value), {1}, DType::kF32, {}}};
  EXPECT_NE(refusal([&] { weights->read(slice); }).find("[80], the model [81]"), std::string::npos);
  TensorSlice none = slice;
  none.name = "model.layers.9.mlp.up_proj.bias";
  EXPECT_NE(refusal([&] { weights->read(none); }).find("no tensor transformer.h.9.mlp.c_fc.bias"),
            std::string::npos);
}

TEST(ForeignWeights, OldGpt2sAreNamedAsTheyAre) {
  const auto weights = ForeignWeights::open(golden("gpt2-old"));
  auto model = model_of(*weights);
  model.push_back({"model.layers.2.self_attn.k_proj.weight", {20, 20}});
  EXPECT_NE(refusal([&] { weights->check(model); }).find("\n  h.2.attn.c_attn.weight: is missing"),
            std::string::npos);
}

TEST(ForeignWeights, ManyDifferencesAreCounted) {
  const auto weights = ForeignWeights::open(golden("llama"));
  const std::string said = refusal([&] { weights->check({}); });
  EXPECT_NE(said.find("\n  and 11 more"), std::string::npos) << said;
  EXPECT_EQ(std::ranges::count(said, '\n'), 11) << said;
}

// A folder with one file of these tensors, as a llama.
std::string folder_of(const std::string& header, const std::string& data) {
  std::string folder = fresh_root();
  fs::create_directories(folder);
  write_bytes(folder + "/config.json", R"({"model_type": "llama"})");
  write_bytes(folder + "/model.safetensors", safetensors_bytes(header, data));
  return folder;
}

TEST(ForeignWeights, TensorsThatCannotBeRead) {
  const auto weights = ForeignWeights::open(folder_of(
      R"({"model.norm.weight":{"dtype":"I32","shape":[2],"data_offsets":[0,8]},
          "lm_head.weight":{"dtype":"F32","shape":[1,1,1,1,2],"data_offsets":[8,16]},
          "model.layers.0.rotary_emb.inv_freq":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},
          "model.layers.0.self_attn.rotary_emb.inv_freq":{"dtype":"F32","shape":[2],"data_offsets":[24,32]},
          "model.layers.01.input_layernorm.weight":{"dtype":"U8","shape":[1],"data_offsets":[32,33]},
          "what.ever":{"dtype":"U8","shape":[1],"data_offsets":[33,34]}})",
      std::string(34, '\0')));
  EXPECT_EQ(weights->tensors().size(), 2U);
  const std::vector<ForeignWeights::Expected> model = {{"model.norm.weight", {2}},
                                                       {"lm_head.weight", {2}}};
  const std::string said = refusal([&] { weights->check(model); });
  for (const char* line : {"\n  model.norm.weight: is stored as I32; F32, F16",
                           "\n  lm_head.weight: the file has [1, 1, 1, 1, 2], the model [2]",
                           "\n  what.ever: [1], the model has no such tensor",
                           "\n  model.layers.01.input_layernorm.weight: [1], the model"}) {
    EXPECT_NE(said.find(line), std::string::npos) << said;
  }
  EXPECT_EQ(std::ranges::count(said, '\n'), 4) << said;
}

TEST(ForeignWeights, AHeadThatIsTheEmbeddingIsNotInExcess) {
  const std::string header =
      R"({"model.embed_tokens.weight":{"dtype":"BF16","shape":[3,2],"data_offsets":[0,12]},
          "lm_head.weight":{"dtype":"BF16","shape":[3,2],"data_offsets":[12,24]}})";
  const std::vector<ForeignWeights::Expected> model = {{"model.embed_tokens.weight", {3, 2}}};
  ForeignWeights::open(folder_of(header, "abcdefghijklabcdefghijkl"))->check(model);
  const auto other = ForeignWeights::open(folder_of(header, "abcdefghijklabcdefghijkL"));
  EXPECT_NE(refusal([&] {
              other->check(model);
            }).find("lm_head.weight: is not model.embed_tokens.weight, but the model ties them"),
            std::string::npos);
}

TEST(ForeignWeights, FoldersAndFilesThatAreNoModels) {
  const auto said = [](const std::string& path) {
    return refusal([&] { ForeignWeights::open(path); });
  };
  const std::string folder = fresh_root();
  EXPECT_NE(said(folder).find("holds no config.json"), std::string::npos);
  fs::create_directories(folder);
  EXPECT_NE(said(folder).find("holds no config.json"), std::string::npos);
  const std::string config = folder + "/config.json";
  for (const auto& [text, why] :
       {std::pair{"{", "not JSON"},
        {"{}", "model_type is missing; gpt2, llama"},
        {R"({"model_type": 3})", "model_type is 3"},
        {R"({"model_type": "bert"})", "model_type is \"bert\""},
        {R"({"model_type":"llama","model_type":"gpt2"})", "occurs twice"},
        {R"({"model_type": "llama"})", "holds neither model.safetensors"}}) {
    write_bytes(config, text);
    EXPECT_NE(said(folder).find(why), std::string::npos) << said(folder);
  }
  fs::resize_file(config, (1 << 20) + 1);
  EXPECT_NE(said(folder).find("more than 1048576"), std::string::npos);
  EXPECT_NE(said(folder + "/none.gguf").find("No such file"), std::string::npos);
  EXPECT_NE(said(new_file("GGUF", ".gguf")).find("ends inside its metadata"), std::string::npos);
  fs::create_directories(folder + "/folder.gguf");
  EXPECT_NE(said(folder + "/folder.gguf").find("not a regular file"), std::string::npos);
}

constexpr std::uint32_t kText = 8, kU32 = 4, kF32 = 6;

TEST(ForeignWeights, GgufMetadataThatIsNotOfAModel) {
  const auto said = [](const GgufBytes& bytes) {
    const std::string path = new_file(bytes.with_data(4), ".gguf");
    return refusal([&] { ForeignWeights::open(path); });
  };
  const auto expect = [&](const GgufBytes& bytes, const std::string& why) {
    EXPECT_NE(said(bytes).find(why), std::string::npos) << said(bytes);
  };
  const std::string architecture = "general.architecture";
  expect(GgufBytes(0, 0), "general.architecture is missing");
  expect(GgufBytes(0, 1).key("split.count", kU32).number(2), "split.count is 2: merge the parts");
  expect(GgufBytes(0, 1).key(architecture, kU32).number(3), "is of another type");
  expect(GgufBytes(0, 1).key(architecture, kText).text("bert"), "is \"bert\"; llama, qwen2");
  expect(GgufBytes(0, 1).key(architecture, kText).text("\xff\x1b"), "general.architecture is ");
  expect(GgufBytes(0, 1).key(architecture, kText).text("llama"), "hold no token_embd.weight");
  const auto llama = [&](std::uint64_t more) {
    GgufBytes bytes(1, 1 + more);
    return bytes.key(architecture, kText).text("llama");
  };
  const auto table = [](GgufBytes bytes) {
    return bytes.tensor("token_embd.weight", {1, 1}, 0, 0);
  };
  expect(table(llama(0)), "llama.embedding_length is missing");
  expect(table(llama(1).key("llama.embedding_length", kF32).number(8.0F)), "another type");
  expect(table(llama(1).key("llama.embedding_length", 5).number(-8)), "beyond what sizes can be");
  expect(table(llama(3)
                   .key("llama.embedding_length", kU32)
                   .number(8)
                   .key("llama.attention.head_count", kU32)
                   .number(2)
                   .key("llama.rope.dimension_count", kU32)
                   .number(2)),
         "llama.rope.dimension_count is 2, but heads here have one size, 4");
  // No heads: sizes are not divided by it.
  expect(table(llama(2)
                   .key("llama.embedding_length", kU32)
                   .number(8)
                   .key("llama.attention.head_count", kU32)
                   .number(0)),
         "feed_forward_length is missing");
}

TEST(RopeScaling, FactorsOfLlama3AreRecognised) {
  for (const int dim : {8, 64, 128}) {
    for (const std::int64_t original : {64, 8192}) {
      const Llama3Scaling scaling{.factor = 32.0, .original_max_position_embeddings = original};
      const auto factors = llama3_factors(scaling, 500000.0, dim);
      ASSERT_EQ(factors.size(), static_cast<std::size_t>(dim / 2));
      EXPECT_EQ(factors.front(), 1.0F);
      EXPECT_EQ(factors.back(), 32.0F);
      const auto back = llama3_scaling_of(factors, 500000.0);
      ASSERT_TRUE(back);
      EXPECT_EQ(llama3_factors(*back, 500000.0, dim), factors);
      if (dim < 128) continue;  // few pairs fit several
      EXPECT_EQ(back->original_max_position_embeddings, original);
    }
  }
  EXPECT_FALSE(llama3_scaling_of({1.0F, 2.0F, 3.0F, 1.0F}, 10000.0));
  EXPECT_FALSE(llama3_scaling_of({}, 10000.0));
}

TEST(WeightNames, BothWays) {
  const auto name = parse_weight_name("model.layers.12.mlp.up_proj.weight");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->module, "model.layers.#.mlp.up_proj");
  EXPECT_EQ(name->layer, 12);
  EXPECT_EQ(weight_name("h.#.mlp.c_fc", *name), "h.12.mlp.c_fc.weight");
  for (const char* none : {"", "weight", "a.b", "a.weight.1"})
    EXPECT_FALSE(parse_weight_name(none));
  EXPECT_EQ(parse_weight_name("h.0000001.weight")->layer, -1);
  EXPECT_EQ(parse_weight_name("h.1234567.weight")->layer, -1);
  EXPECT_EQ(parse_weight_name("h.1.2.weight")->module, "h.#.2");
  for (std::int64_t row = 0; row < 24; ++row) {
    EXPECT_EQ(row_here(row_there(row, 24, 3), 24, 3), row);
  }
  EXPECT_EQ(row_there(1, 24, 3), 2);   // the second pair's first element
  EXPECT_EQ(row_there(12, 24, 3), 9);  // the second head's first pair's second element
}

}  // namespace
}  // namespace frugal::test
