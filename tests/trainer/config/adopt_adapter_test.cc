// An adapter_config.json that lora.init_from names, and the lora section itself.
#include <fstream>
#include <sstream>

#include "nlohmann/json.hpp"
#include "tests/trainer/config/config_text.h"

namespace frugal {
namespace {

using nlohmann::json;

std::string refusal_of(Config config, const std::string& text) {
  try {
    adopt_adapter(config, text, "A/adapter_config.json");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

json golden(const std::string& model) {
  return json::parse(
      std::ifstream(FRUGAL_SOURCE_DIR "/tests/golden/lora/" + model + "/adapter_config.json"));
}

TEST(AdoptAdapter, WhatPeftWrites) {
  Config config = parse("lora: {init_from: A}");
  adopt_adapter(config, golden("qwen2").dump(), "A/adapter_config.json");
  EXPECT_EQ(config.lora.init_from, "A");
  EXPECT_EQ(config.lora.rank, 2);
  EXPECT_EQ(config.lora.alpha, 2.0);
  EXPECT_EQ(config.lora.targets,
            (std::vector<std::string>{"q_proj", "v_proj", "o_proj", "gate_proj"}));
  // As a whole it can be adopted again: a run folder's config.yaml says all of it.
  EXPECT_EQ(refusal_of(parse(dump_config(config)), golden("qwen2").dump()), "");
}

TEST(AdoptAdapter, TheUsersWordAgainstTheFiles) {
  const std::string file = golden("qwen2").dump();
  EXPECT_EQ(
      refusal_of(parse("lora: {rank: 2, targets: [gate_proj, q_proj, o_proj, v_proj]}"), file), "");
  EXPECT_TRUE(says(refusal_of(parse("lora: {rank: 3}"), file),
                   "a.yaml:1:14: lora.rank is 3 here, but 2 in A/adapter_config.json, whose "
                   "adapters lora.init_from asks for; remove the key"));
  EXPECT_TRUE(says(refusal_of(parse("lora: {targets: [q_proj]}"), file),
                   "lora.targets is [q_proj] here, but [q_proj, v_proj, o_proj, gate_proj] in"));
  EXPECT_TRUE(says(refusal_of(parse("lora: {alpha: 4}"), file), "lora.alpha is 4.0 here, but 2.0"));
}

// Every field that changes what the adapters compute, by its name.
TEST(AdoptAdapter, RefusesOtherMathematics) {
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, json>>{{"use_rslora", true},
                                                 {"use_dora", true},
                                                 {"use_qalora", true},
                                                 {"fan_in_fan_out", true},
                                                 {"lora_bias", true},
                                                 {"bias", "lora_only"},
                                                 {"bias", "all"},
                                                 {"modules_to_save", {"lm_head"}},
                                                 {"rank_pattern", {{"q_proj", 4}}},
                                                 {"alpha_pattern", {{"q_proj", 4}}},
                                                 {"layers_to_transform", {0}},
                                                 {"layers_to_transform", 0},
                                                 {"layers_pattern", "h"},
                                                 {"exclude_modules", {"q_proj"}},
                                                 {"layer_replication", {{0, 1}}},
                                                 {"target_parameters", {"x"}},
                                                 {"trainable_token_indices", {1}},
                                                 {"init_lora_weights", "pissa"},
                                                 {"megatron_config", {{"x", 1}}},
                                                 {"a_new_field", 1}}) {
    SCOPED_TRACE(field + " " + value.dump());
    json file = golden("llama3");
    file[field] = value;
    EXPECT_TRUE(says(refusal_of({}, file.dump()),
                     "the field '" + field + "' changes what the adapters compute"));
  }
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, json>>{{"lora_dropout", 0.1},
                                                 {"init_lora_weights", "gaussian"},
                                                 {"init_lora_weights", false},
                                                 {"a_new_field", nullptr},
                                                 {"another_new_field", false},
                                                 {"inference_mode", false}}) {
    json file = golden("llama3");
    file[field] = value;
    EXPECT_EQ(refusal_of({}, file.dump()), "") << field;
  }
}

TEST(AdoptAdapter, WhatIsNoAdapterThatCanBeRead) {
  const auto with = [](const std::string& field, const json& value) {
    json file = golden("llama3");
    if (value.is_discarded()) {
      file.erase(field);
    } else {
      file[field] = value;
    }
    return refusal_of({}, file.dump());
  };
  const json gone(json::value_t::discarded);
  EXPECT_TRUE(says(refusal_of({}, "[]"), "A/adapter_config.json: not a JSON object"));
  EXPECT_TRUE(says(refusal_of({}, R"({"r": 1, "r": 2})"), "the key 'r' stands there twice"));
  EXPECT_TRUE(says(refusal_of({}, std::string(2 << 20, ' ')), "bytes; up to"));
  EXPECT_TRUE(says(with("peft_type", "IA3"), "peft_type is 'IA3': only adapters of the type LORA"));
  EXPECT_TRUE(says(with("peft_type", gone), "peft_type is missing"));
  EXPECT_TRUE(says(with("r", gone), "the field r is missing"));
  EXPECT_TRUE(says(with("r", -1), "lora.rank"));
  EXPECT_TRUE(says(with("lora_alpha", "much"), "lora.alpha"));
  EXPECT_TRUE(says(with("target_modules", ".*proj"), "target_modules is a pattern"));
  EXPECT_TRUE(says(with("target_modules", {"q_proj", "lm_head"}), "lm_head"));
}

std::string lora_problems(const std::string& lora, const std::string& model = "") {
  try {
    Config config =
        parse("lora: " + lora + "\nmodel: {intermediate_size: 64, vocab_size: 100" + model + "}");
    resolve_config(config, 1);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Lora, Section) {
  EXPECT_EQ(Config{}.lora.rank, 0);
  EXPECT_EQ(lora_problems("{rank: 8}"), "");
  EXPECT_TRUE(says(lora_problems("{rank: 8, targets: [q_proj, lm_head]}"), "lm_head"));
  EXPECT_TRUE(says(lora_problems("{rank: 8, targets: []}"), "nothing would be trained"));
  EXPECT_TRUE(says(lora_problems("{rank: 8, targets: [q_proj, q_proj]}"), "names q_proj twice"));
  EXPECT_TRUE(says(lora_problems("{rank: 8, targets: [gate_proj]}", ", model_type: gpt2"),
                   "gpt2 has no gate"));
  EXPECT_TRUE(says(lora_problems("{rank: -1}"), "lora.rank"));
  EXPECT_TRUE(says(lora_problems("{rank: 8, alpha: 0}"), "lora.alpha"));
  EXPECT_TRUE(says(lora_problems("{rank: 0, init_from: A}"), "lora.rank is 0"));
  Config config = parse(
      "lora: {rank: 8, targets: [down_proj, q_proj]}\n"
      "model: {intermediate_size: 64, vocab_size: 100}");
  resolve_config(config, 1);
  EXPECT_EQ(config.lora.targets, (std::vector<std::string>{"q_proj", "down_proj"}));
}

}  // namespace
}  // namespace frugal
