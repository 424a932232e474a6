#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <utility>

#include "tests/trainer/checkpoint/exported.h"
#include "tests/trainer/checkpoint/foreign_files.h"
#include "tests/trainer/checkpoint/saved_model.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::unique_ptr<ForeignWeights> gguf_with(const std::map<std::string, std::string>& files) {
  const auto weights = ForeignWeights::open(golden("llama"));
  return ForeignWeights::open(
      export_to(checkpoint_of(*weights, {.tokenizer = tokenizer_folder(files)}),
                {.format = WeightFormat::kGguf}, ".gguf"));
}

TEST(Export, TokenizersOfGgufs) {
  const auto plain = gguf_with({{"tokenizer.json", kTokenizer}});
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
}

json llama3_tokenizer() {
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
  return llama3;
}

TEST(Export, TokenizersOfGgufsWithTheWordsOfLlama3) {
  const auto other = gguf_with({{"tokenizer.json", llama3_tokenizer().dump()},
                                {"tokenizer_config.json", R"({"bos_token": {"content": "<|begin|>"},
                                      "eos_token": "<|endoftext|>", "chat_template": "{{ x }}"})"}});
  EXPECT_EQ(other->tokenizer()->pre, "llama-bpe");
  EXPECT_TRUE(other->tokenizer()->add_bos);
  EXPECT_EQ(other->tokenizer()->bos, 4);
  EXPECT_EQ(other->tokenizer()->eos, 5);
  EXPECT_EQ(other->tokenizer()->chat_template, "{{ x }}");
}

TEST(Export, TokenizersThatGgufsCannotHave) {
  json unknown = llama3_tokenizer();
  unknown["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = ".";
  json split_twice = llama3_tokenizer(), not_split = json::parse(kTokenizer);
  split_twice["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = true;
  not_split["pre_tokenizer"]["use_regex"] = false;
  json wide = json::parse(kTokenizer);
  wide["model"]["vocab"]["c"] = 131;
  json other_model = json::parse(kTokenizer);
  other_model["model"]["type"] = "Unigram";
  for (const auto& [text, why] :
       {std::pair{unknown.dump(), "its pre_tokenizer has no name in GGUF"},
        {split_twice.dump(), "its pre_tokenizer has no name in GGUF"},
        {not_split.dump(), "its pre_tokenizer has no name in GGUF"},
        {wide.dump(), "the id 131 is none of the model's 131"},
        {other_model.dump(), "not a byte-level BPE"},
        {std::string("{}"), "not a byte-level BPE"},
        {std::string("{"), "not JSON"}}) {
    const std::string said = refusal([&, &text = text] { gguf_with({{"tokenizer.json", text}}); });
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

// Each id from the first file that says it.
TEST(Export, IdsOfTheFirstAndLastToken) {
  const auto weights = ForeignWeights::open(golden("llama"));
  const auto ids_with = [&](std::map<std::string, std::string> more) {
    more.emplace("tokenizer.json", kTokenizer);
    const auto config = json::parse(
        read_bytes(export_to(checkpoint_of(*weights, {.tokenizer = tokenizer_folder(more)}), {}) +
                   "/config.json"));
    return std::pair{config["bos_token_id"], config["eos_token_id"]};
  };
  const std::pair<std::string, std::string> silent{"generation_config.json", "{}"},
      half{"generation_config.json", R"({"eos_token_id": [6, 5], "bos_token_id": null})"},
      model{"config.json", R"({"bos_token_id": 4, "eos_token_id": 6})"},
      names{"tokenizer_config.json", R"({"bos_token": "<tool>", "eos_token": null})"};
  EXPECT_EQ(ids_with({silent}), (std::pair<json, json>{5, 5}));
  EXPECT_EQ(ids_with({silent, model, names}), (std::pair<json, json>{4, 6}));
  EXPECT_EQ(ids_with({half, model, names}), (std::pair<json, json>{4, json{6, 5}}));
  EXPECT_EQ(ids_with({silent, names}), (std::pair<json, json>{6, 5}));
  EXPECT_EQ(ids_with({half, names}), (std::pair<json, json>{6, json{6, 5}}));
  for (const char* bad : {"\"x\"", "-1", "[]", "[1.5]", "{}"}) {
    const std::string said = refusal([&] {
      ids_with({{"config.json", std::string(R"({"eos_token_id": )") + bad + "}"}});
    });
    EXPECT_NE(said.find("config.json: eos_token_id is "), std::string::npos) << said;
  }
}

}  // namespace
}  // namespace frugal::test
