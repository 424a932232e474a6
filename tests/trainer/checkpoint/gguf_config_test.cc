#include "trainer/checkpoint/gguf_config.h"

#include <gtest/gtest.h>

#include "tests/trainer/checkpoint/foreign_files.h"
#include "trainer/checkpoint/rope_scaling.h"

namespace frugal::test {
namespace {

using nlohmann::json;

// What the common converters write of a small one.
GgufContent llama() {
  GgufContent content;
  content.metadata = {{"general.architecture", GgufValue::text("llama")},
                      {"general.size_label", GgufValue::text("1B")},
                      {"llama.block_count", GgufValue::u32(1)},
                      {"llama.context_length", GgufValue::u32(64)},
                      {"llama.embedding_length", GgufValue::u32(8)},
                      {"llama.feed_forward_length", GgufValue::u32(16)},
                      {"llama.attention.head_count", GgufValue::u32(2)},
                      {"llama.attention.head_count_kv", GgufValue::u32(1)},
                      {"llama.attention.key_length", GgufValue::u32(4)},
                      {"llama.attention.value_length", GgufValue::u32(4)},
                      {"llama.attention.layer_norm_rms_epsilon", GgufValue::f32(1e-5)},
                      {"llama.rope.dimension_count", GgufValue::u32(4)},
                      {"llama.rope.freq_base", GgufValue::f32(10000)},
                      {"llama.vocab_size", GgufValue::u32(9)}};
  content.tensors.push_back({.name = "token_embd.weight", .shape = {9, 8}});
  return content;
}

json config_with(const GgufMetadata& more, const std::vector<float>& factors = {}) {
  GgufContent content = llama();
  for (const auto& [key, value] : more) content.metadata.insert_or_assign(key, value);
  return json::parse(config_of_gguf(content, "file", factors));
}

TEST(GgufConfig, WhatHasNoEffect) {
  const json plain = config_with({});
  EXPECT_EQ(plain["rope_scaling"], nullptr);
  EXPECT_EQ(config_with({{"llama.tensor_data_layout", GgufValue::text("Meta AI original pth")},
                         {"llama.rope.scaling.type", GgufValue::text("none")},
                         {"llama.rope.scaling.factor", GgufValue::f32(4)},
                         {"llama.rope.scaling.original_context_length", GgufValue::u32(32)},
                         {"llama.rope.scaling.finetuned", GgufValue::boolean(true)},
                         {"llama.rope.scaling.attn_factor", GgufValue::f32(1)},
                         {"llama.attention.causal", GgufValue::boolean(true)},
                         {"llama.attention.sliding_window", GgufValue::u32(0)},
                         {"llama.expert_count", GgufValue::u32(0)},
                         {"llama.expert_used_count", GgufValue::u32(0)},
                         {"qwen2.logit_scale", GgufValue::f32(2)}}),
            plain);
}

TEST(GgufConfig, LinearScalingInEverySpelling) {
  const json linear = {{"rope_type", "linear"}, {"factor", 4.0}};
  const GgufMetadata named = {{"llama.rope.scaling.type", GgufValue::text("linear")},
                              {"llama.rope.scaling.factor", GgufValue::f32(4)}};
  EXPECT_EQ(config_with(named)["rope_scaling"], linear);
  EXPECT_EQ(config_with({named[1]})["rope_scaling"], linear);
  EXPECT_EQ(config_with({{"llama.rope.scale_linear", GgufValue::f32(4)}})["rope_scaling"], linear);
  EXPECT_EQ(config_with({named[1], {"llama.rope.scale_linear", GgufValue::f32(2)}})["rope_scaling"],
            linear);
  EXPECT_EQ(config_with({{"llama.rope.scale_linear", GgufValue::f32(1)}})["rope_scaling"], nullptr);
  // Without its factor it is left to the reader of the config, which refuses it.
  EXPECT_EQ(config_with({named[0]})["rope_scaling"], (json{{"rope_type", "linear"}}));
  const std::vector<float> factors = llama3_factors({.factor = 8.0}, 10000.0, 4);
  EXPECT_EQ(config_with({}, factors)["rope_scaling"]["rope_type"], "llama3");
  const std::string said = refusal([&] { config_with({named[1]}, factors); });
  EXPECT_NE(said.find("rope_freqs.weight scales rotary positions that metadata"), std::string::npos)
      << said;
}

TEST(GgufConfig, WhatMayChangeTheMathematicsIsRefusedByNameAndValue) {
  for (const auto& [key, value, shown] :
       std::vector<std::tuple<std::string, GgufValue, std::string>>{
           {"attention.sliding_window", GgufValue::u32(4096), "4096"},
           {"attention.causal", GgufValue::boolean(false), "false"},
           {"attn_logit_softcapping", GgufValue::f32(50), "50.0"},
           {"final_logit_softcapping", GgufValue::f32(30), "30.0"},
           {"logit_scale", GgufValue::f32(0.5), "0.5"},
           {"rope.scaling.attn_factor", GgufValue::f32(1.5), "1.5"},
           {"expert_count", GgufValue::u32(8), "8"},
           {"expert_used_count", GgufValue::u32(2), "2"},
           {"clever_trick", GgufValue::text("x\x1b"), "\"x\\u001b\""},
           {"rope.dimension_sections", GgufValue::i32s({1, 2}), "a list"},
       }) {
    const std::string name = "llama." + key;
    const std::string said = refusal([&, &value = value] { config_with({{name, value}}); });
    EXPECT_EQ(said.substr(0, said.find(", which")), "file: metadata " + name + " is " + shown)
        << said;
  }
}

TEST(GgufConfig, WhatIsWrittenIsKnown) {
  for (const std::string type : {"llama", "qwen2", "qwen3", "gpt2"}) {
    for (const std::string rope : {"default", "linear", "llama3"}) {
      ModelConfig model;
      model.model_type = type;
      model.intermediate_size = 16;
      model.num_key_value_heads = 1;
      model.head_dim = model.hidden_size / model.num_attention_heads;
      model.rope_type = rope;
      model.rope_factor = rope == "default" ? 1.0 : 8.0;
      GgufContent content = llama();
      content.metadata.clear();
      for (auto& [key, value] : gguf_metadata_of(model, 9)) content.metadata[key] = value;
      content.metadata["general.architecture"] = GgufValue::text(type);
      const json config = json::parse(config_of_gguf(content, "file", rope_factors_of(model)));
      EXPECT_EQ(config["model_type"], type);
      if (type == "gpt2") continue;
      const json& scaling = config["rope_scaling"];
      EXPECT_EQ(scaling.is_null() ? "default" : scaling["rope_type"], rope) << type;
    }
  }
}

}  // namespace
}  // namespace frugal::test
