// Each family's tokenizer.json, against ids by Hugging Face's `tokenizers`
// (tests/golden/make_tokenizer_golden.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "nlohmann/json.hpp"
#include "tests/trainer/data/scratch.h"
#include "trainer/data/characters.h"
#include "trainer/data/nfc.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/tokenizer_json.h"

namespace frugal {
namespace {

using nlohmann::json;

constexpr const char* kFamilies[] = {"gpt2",           "llama3",  "qwen2", "deepseek_v3",
                                     "deepseek_coder", "smollm2", "added"};

class Family : public testing::TestWithParam<const char*> {
 protected:
  const std::string dir_ = golden_dir() + "/" + GetParam();
  const bool nfc_ = dir_.ends_with("qwen2") || dir_.ends_with("added");
  const Tokenizer tokenizer_ = Tokenizer::load(dir_);
};

INSTANTIATE_TEST_SUITE_P(All, Family, testing::ValuesIn(kFamilies),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Family, EncodesAsHuggingFaceDoes) {
  const json cases = json::parse(read_whole(dir_ + "/cases.json"));
  ASSERT_GT(cases.size(), 70U);
  for (const json& item : cases) {
    const auto text = item["text"].get<std::string>();
    const auto expected = item["ids"].get<std::vector<std::int32_t>>();
    EXPECT_EQ(encode(tokenizer_, text), expected) << text;
    const std::string normal = nfc_ ? to_nfc(text) : "";
    EXPECT_EQ(tokenizer_.decode(expected), normal.empty() ? text : normal);
  }
}

TEST_P(Family, AnyBytesComeBack) {
  std::mt19937 generator(3);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (int i = 0; i < round; ++i) text += static_cast<char>(generator() % 256);
    const std::string normal = nfc_ ? to_nfc(text) : "";
    EXPECT_EQ(tokenizer_.decode(encode(tokenizer_, text)), normal.empty() ? text : normal);
  }
}

TEST_P(Family, WritingGivesTheSameTokenizer) {
  const TokenizerTables tables = read_tokenizer_json(read_whole(dir_ + "/tokenizer.json"), "a");
  EXPECT_TRUE(read_tokenizer_json(write_tokenizer_json(tables), "b") == tables);
}

// GGUF has one list of tokens, spelled, with kinds; the same ids come out.
TEST_P(Family, ComesFromTheTablesOfGguf) {
  if (dir_.ends_with("added")) return;  // no pre-tokenizer of GGUF's
  const std::vector<std::pair<std::string_view, std::string_view>> names = {
      {"gpt2", "gpt-2"},     {"llama3", "llama-bpe"},
      {"qwen2", "qwen2"},    {"deepseek_v3", "deepseek-v3"},
      {"smollm2", "smollm"}, {"deepseek_coder", "deepseek-coder"}};
  const json file = json::parse(read_whole(dir_ + "/tokenizer.json"));
  SpelledTokenizer spelled;
  spelled.pre = std::ranges::find(names, std::string_view(GetParam()), [](const auto& name) {
                  return name.first;
                })->second;
  spelled.tokens.resize(static_cast<std::size_t>(tokenizer_.vocab_size()));
  spelled.kinds.resize(spelled.tokens.size(), SpelledTokenizer::Kind::kNormal);
  for (const auto& [token, id] : file["model"]["vocab"].items()) spelled.tokens[id] = token;
  for (const json& token : file["added_tokens"]) {
    spelled.tokens[token["id"]] = token["content"];
    spelled.kinds[token["id"]] = token["special"].get<bool>() ? SpelledTokenizer::Kind::kSpecial
                                                              : SpelledTokenizer::Kind::kUser;
  }
  for (const json& merge : file["model"]["merges"]) spelled.merges.push_back(merge);
  spelled.begin_of_text = tokenizer_.begin_of_text();
  const Tokenizer same = Tokenizer::from_json(tokenizer_json_of(spelled, "x.gguf"), "x.gguf");
  EXPECT_EQ(same.begin_of_text(), tokenizer_.begin_of_text());
  EXPECT_EQ(same.end_of_text(), tokenizer_.end_of_text());
  for (const json& item : json::parse(read_whole(dir_ + "/cases.json"))) {
    EXPECT_EQ(encode(same, item["text"].get<std::string>()), item["ids"]) << item["text"];
  }
}

TEST(TablesOfGguf, AreRefusedWithAReason) {
  SpelledTokenizer spelled;
  spelled.pre = "tekken";
  const auto refusal = [&] {
    return error_of(ErrorKind::kData, [&] { tokenizer_json_of(spelled, "x.gguf"); });
  };
  expect_has(refusal(), "x.gguf: the pre-tokenizer is \"tekken\"; known ones: gpt-2 smollm");
  spelled.pre = "gpt-2";
  expect_has(refusal(), "x.gguf: no token for byte 32");
  spelled.tokens = {"a", "\xff<"};
  spelled.kinds = {SpelledTokenizer::Kind::kNormal, SpelledTokenizer::Kind::kSpecial};
  expect_has(refusal(), "token 1 is not UTF-8 in byte 0");
  spelled.kinds[1] = SpelledTokenizer::Kind::kNormal;
  expect_has(refusal(), "stands for no byte");
  spelled.tokens[1] = "b";
  for (const char* merge : {"a c", "c a", "a", ""}) {
    spelled.merges = {merge};
    expect_has(refusal(), "merge 0 is not of two tokens");
  }
  spelled.merges = {};
  spelled.begin_of_text = 2;
  expect_has(refusal(), "the token before texts is 2, but there are only 2");
}

TEST(Families, SpecialTokensAreKnown) {
  const auto load = [](const char* family) { return Tokenizer::load(golden_dir() + "/" + family); };
  const Tokenizer llama = load("llama3");
  EXPECT_EQ(llama.begin_of_text(), llama.special("<|begin_of_text|>"));
  EXPECT_EQ(llama.end_of_text(), llama.special("<|end_of_text|>"));
  EXPECT_EQ(llama.stop_tokens(), std::vector{llama.end_of_text()});
  EXPECT_EQ(llama.special("<|endoftext|>"), std::nullopt);
  EXPECT_EQ(llama.bytes_of(llama.end_of_text()), "");
  EXPECT_EQ(load("gpt2").begin_of_text(), std::nullopt);
  EXPECT_EQ(load("smollm2").end_of_text(), 0);
  EXPECT_EQ(load("deepseek_v3").end_of_text(), 1);
  const Tokenizer qwen = load("qwen2");
  EXPECT_EQ(qwen.end_of_text(), qwen.special("<|endoftext|>"));
  EXPECT_EQ(qwen.bytes_of(*qwen.special("<think>")), "<think>");  // not special: text
}

TEST(Families, UntrustedTextHasNoSpecialTokens) {
  const Tokenizer qwen = Tokenizer::load(golden_dir() + "/qwen2");
  std::vector<std::int32_t> ids;
  qwen.encode_as_text("<|im_end|><think>x", ids);
  EXPECT_EQ(std::ranges::count(ids, *qwen.special("<|im_end|>")), 0);
  EXPECT_EQ(std::ranges::count(ids, *qwen.special("<think>")), 1);  // an added token, not special
  EXPECT_EQ(qwen.decode(ids), "<|im_end|><think>x");
}

class FolderTokens : public testing::Test {
 protected:
  Tokenizer load() const { return Tokenizer::load(dir_ / ""); }
  std::string refusal() const {
    return error_of(ErrorKind::kData, [&] { load(); });
  }
  const ScratchDir dir_;
  const std::string file_ =
      dir_.write("tokenizer.json", read_whole(golden_dir() + "/qwen2/tokenizer.json"));
  const std::int32_t end_ = load().end_of_text();
  const std::int32_t turn_ = *load().special("<|im_end|>");
};

TEST_F(FolderTokens, ComeFromTokenizerConfig) {
  dir_.write("tokenizer_config.json", R"({"eos_token": "<|im_end|>", "bos_token": null})");
  EXPECT_EQ(load().stop_tokens(), (std::vector{end_, turn_}));
  EXPECT_EQ(load().end_of_text(), end_);
  EXPECT_EQ(load().begin_of_text(), std::nullopt);
  dir_.write("tokenizer_config.json", R"({"eos_token": {"content": "<|im_end|>"},
                                          "bos_token": "<|im_start|>", "add_bos_token": true})");
  EXPECT_EQ(load().stop_tokens(), (std::vector{end_, turn_}));
  EXPECT_EQ(load().begin_of_text(), load().special("<|im_start|>"));
  dir_.write("tokenizer_config.json", R"({"bos_token": "<|im_start|>", "add_bos_token": false})");
  EXPECT_EQ(load().begin_of_text(), std::nullopt);
  const std::string digest = load().digest();
  std::filesystem::remove(dir_ / "tokenizer_config.json");
  EXPECT_EQ(load().digest(), digest);
}

TEST_F(FolderTokens, ComeFromGenerationConfigElseConfig) {
  const auto list = [&](int id) { return R"({"eos_token_id": [)" + std::to_string(id) + ", 7]}"; };
  dir_.write("config.json", R"({"eos_token_id": 8})");
  EXPECT_EQ(load().stop_tokens(), (std::vector{8, end_}));
  dir_.write("generation_config.json", list(turn_));
  EXPECT_EQ(load().stop_tokens(), (std::vector{7, end_, turn_}));
  // One without ids says nothing; names do not hide what config.json says.
  dir_.write("generation_config.json", R"({"eos_token_id": null})");
  dir_.write("tokenizer_config.json", R"({"eos_token": "<|im_end|>"})");
  EXPECT_EQ(load().stop_tokens(), (std::vector{8, end_, turn_}));
}

TEST_F(FolderTokens, EndATextWhereNoNameIsKnown) {
  json file = json::parse(read_whole(golden_dir() + "/qwen2/tokenizer.json"));
  file["added_tokens"][0]["content"] = "<stop>";
  dir_.write("tokenizer.json", file.dump());
  expect_has(refusal(), "no token is known that ends a text");
  dir_.write("tokenizer_config.json", R"({"eos_token": "<stop>"})");
  EXPECT_EQ(load().end_of_text(), end_);
}

TEST_F(FolderTokens, AreRefusedWithAReason) {
  dir_.write("tokenizer_config.json", "{");
  expect_has(refusal(), "tokenizer_config.json: not a JSON object");
  dir_.write("tokenizer_config.json", R"({"eos_token": "<none>"})");
  expect_has(refusal(), "eos_token is \"<none>\", which is not among the added_tokens");
  dir_.write("tokenizer_config.json", R"({"eos_token": 3})");
  expect_has(refusal(), "eos_token is 3, which is not among");
  dir_.write("tokenizer_config.json", std::string(100, '['));
  expect_has(refusal(), "nested too deeply");
  dir_.write("tokenizer_config.json", "{}");
  const std::string size = std::to_string(load().vocab_size());
  dir_.write("generation_config.json", R"({"eos_token_id": [1, )" + size + "]}");
  expect_has(refusal(),
             "generation_config.json: eos_token_id is " + size + ", but tokenizer.json has ids 0");
  dir_.write("generation_config.json", R"({"eos_token_id": -1})");
  expect_has(refusal(), "eos_token_id is -1");
}

}  // namespace
}  // namespace frugal
