// A config.json that model.init_from names.
#include <chrono>
#include <fstream>
#include <functional>
#include <sstream>

#include "tests/trainer/config/config_text.h"

namespace frugal {
namespace {

std::string refusal_of(Config config, const std::string& json) {
  try {
    adopt_model(config, json, "M/config.json");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

std::string golden(const std::string& family) {
  std::ostringstream out;
  out << std::ifstream(FRUGAL_SOURCE_DIR "/tests/golden/hf/" + family + "/config.json").rdbuf();
  return out.str();
}

TEST(AdoptModel, EveryFamily) {
  for (const std::string family :
       {"gpt2", "llama3", "llama3_tied", "llama_biases", "qwen2", "qwen2_tied", "qwen3"}) {
    SCOPED_TRACE(family);
    Config config = parse("model: {init_from: M}\ndata: {sequence_length: 8}");
    adopt_model(config, golden(family), "M/config.json");
    const ModelConfig& m = config.model;
    EXPECT_EQ(m.init_from, "M");
    EXPECT_TRUE(m.model_type == family || family.starts_with(m.model_type));
    EXPECT_EQ(m.hidden_size, 24);
    EXPECT_EQ(m.num_attention_heads, 6);
    EXPECT_EQ(m.vocab_size, 131);
    EXPECT_EQ(m.rope_type, family.starts_with("llama3") ? "llama3" : "default");
    EXPECT_EQ(m.tie_word_embeddings, family != "llama3" && family != "qwen2");
    EXPECT_EQ(m.attention_bias, !family.starts_with("llama3") && family != "qwen3");
    resolve_config(config, 1);
    // As a whole it can be adopted again: a run folder's config.yaml says all of it.
    Config again = parse(dump_config(config));
    EXPECT_EQ(refusal_of(again, golden(family)), "");
  }
}

TEST(AdoptModel, TheUsersWordAgainstTheFiles) {
  EXPECT_TRUE(says(refusal_of(parse("model: {hidden_size: 64}"), golden("qwen2")),
                   "a.yaml:1:22: model.hidden_size is 64 here, but 24 in M/config.json, whose "
                   "weights model.init_from asks for; remove the key"));
  EXPECT_TRUE(says(refusal_of(parse("model: {model_type: llama}"), golden("qwen2")),
                   "model.model_type is llama here, but qwen2 in M/config.json"));
  Config longer = parse("model: {hidden_size: 24, rope_theta: 5e6}");
  adopt_model(longer, golden("qwen2"), "M/config.json");
  EXPECT_EQ(longer.model.rope_theta, 5e6);
  Config stretched = parse(
      "model: {rope_factor: 8.0, rope_low_freq_factor: 2.0, rope_high_freq_factor: 5.0, "
      "rope_original_max_position_embeddings: 32, max_position_embeddings: 256}");
  adopt_model(stretched, golden("llama3"), "M/config.json");
  EXPECT_EQ(stretched.model.rope_factor, 8.0);
  EXPECT_EQ(stretched.model.rope_original_max_position_embeddings, 32);
  EXPECT_EQ(stretched.model.max_position_embeddings, 256);
}

TEST(AdoptModel, WhatIsNotAModelThatCanBeRead) {
  const Config empty;
  for (const auto& [json, part] : std::vector<std::pair<std::string, std::string>>{
           {"", "M/config.json: not a JSON object, or a damaged one"},
           {"[1]", "M/config.json: not a JSON object, or a damaged one"},
           {"{\"a\": {\"b\": 1, \"b\": 2}}", "M/config.json: the key 'b' stands there twice"},
           {std::string(40, '[') + std::string(40, ']'), "nested too deeply"},
           {"{\"model_type\": \"mamba\"}",
            "M/config.json:1:2: model_type is 'mamba': only models of the families llama, qwen2, "
            "qwen3, gpt2 can be read"},
           {"{}", "model_type is missing"},
           {"{\"model_type\": \"llama\"}", "model.vocab_size is not said there"},
           {"{\"model_type\": \"llama\"}", "model.rms_norm_eps is not said there"},
           {"{\"model_type\": \"llama\",\n  \"clever_trick\": 1}",
            "M/config.json:2:3: the field 'clever_trick' is not known here"},
           {"{\"model_type\": \"llama\", \"init_from\": \"x\"}", "the field 'init_from' is not"},
           {"{\"model_type\": \"llama\", \"rope_type\": \"llama3\"}",
            "the field 'rope_type' is not"},
           {"{\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"llama3\"}}",
            "M/config.json:1:25: model.rope_scaling: llama3 needs factor"},
           {"{\"a\": \"b\\\"\\n\", \"clever\":\n{\"model_type\": 1}, \"model_type\": \"mamba\"}",
            "M/config.json:2:20: model_type is 'mamba'"},
           {"{\"model_type\": \"llama\"", "not a JSON object, or a damaged one"},
           {"{\"a\"", "not a JSON object, or a damaged one"},
           {"{\"model_type\": \"llama\", \"hidden_size\": \"64\"}",
            "model.hidden_size: expected a whole number"},
           {"{\"model_type\": \"llama\", \"hidden_act\": \"gelu\"}",
            "model.hidden_act: 'gelu' is not supported"},
       }) {
    EXPECT_TRUE(says(refusal_of(empty, json), part)) << json.substr(0, 50);
  }
}

// Texts of a MiB that took minutes where something is quadratic.
TEST(AdoptModel, HostileTextsAreRefusedAtOnce) {
  const auto repeated = [](std::size_t count, const std::function<std::string(std::size_t)>& item) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + item(i);
    return text;
  };
  const std::string llama = "{\"model_type\": \"llama\",";
  const std::string long_text(std::size_t{600000}, 'x');
  for (const auto& [json, part] : std::vector<std::pair<std::string, std::string>>{
           // Behind half a MiB, so that every look for a position would be long.
           {llama + "\"architectures\": \"" + long_text + "\",\n" +
                repeated(19990,
                         [](std::size_t i) { return "\"key" + std::to_string(i) + "\":0"; }) +
                "}",
            "more"},
           {llama +
                repeated(70000, [](std::size_t i) { return "\"k" + std::to_string(i) + "\":0"; }) +
                "}",
            "it has more than 20000 values"},
           {llama + "\"id2label\": [" + repeated(300000, [](std::size_t) { return "{}"; }) + "]}",
            "it has more than 20000 values"},
           {llama + "\"layer_types\": [" + repeated(19990, [](std::size_t) { return "{}"; }) + "]}",
            "and 198"},
           {std::string(1 << 20, '['), "nested too deeply"},
           {std::string((1 << 20) + 1, ' '), "1048577 bytes; up to 1048576 can be read"},
       }) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(says(refusal_of(Config(), json), part)) << json.substr(0, 50);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(seconds.count(), 5.0) << json.substr(0, 50);  // hundredths where all is linear
  }
}

}  // namespace
}  // namespace frugal
