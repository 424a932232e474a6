// What a tokenizer.json may not say, and how it is said.
#include <gtest/gtest.h>

#include "nlohmann/json.hpp"
#include "tests/trainer/data/scratch.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/tokenizer_json.h"

namespace frugal {
namespace {

using nlohmann::json;

struct Refusal {
  const char* name;
  const char* says;
  void (*damage)(json& file);
};

void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

class TokenizerRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(TokenizerRefuses, WithAReason) {
  json file = json::parse(read_whole(golden_dir() + "/tokenizer.json"));
  GetParam().damage(file);
  const std::string message =
      error_of(ErrorKind::kData, [&] { Tokenizer::from_json(file.dump(), "x/tokenizer.json"); });
  expect_has(message, "x/tokenizer.json: ");
  expect_has(message, GetParam().says);
}

json& model(json& file) {
  return file["model"];
}

void add_token(json& file, const std::string& content, int id) {
  json token = file["added_tokens"][0];
  token["content"] = content;
  token["id"] = id;
  token["normalized"] = true;
  file["added_tokens"].push_back(token);
}

json split_then_bytes(const char* regex, const char* behavior) {
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", regex}}},
                      {"behavior", behavior},
                      {"invert", false}};
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}};
}

INSTANTIATE_TEST_SUITE_P(
    All, TokenizerRefuses,
    testing::Values(
        Refusal{"NotAnObject", "no /model/vocab", [](json& f) { f = json::array(); }},
        Refusal{"NoMerges", "no /model/merges", [](json& f) { model(f).erase("merges"); }},
        Refusal{"WordPiece", "/model/type is \"WordPiece\"",
                [](json& f) { model(f)["type"] = "WordPiece"; }},
        Refusal{"Dropout", "/model/dropout is 0.1", [](json& f) { model(f)["dropout"] = 0.1; }},
        Refusal{"UnknownToken", "/model/unk_token is \"a\"",
                [](json& f) { model(f)["unk_token"] = "a"; }},
        Refusal{"ByteFallback", "/model/byte_fallback is true",
                [](json& f) { model(f)["byte_fallback"] = true; }},
        Refusal{"Affix", "/model/end_of_word_suffix is \"</w>\"",
                [](json& f) { model(f)["end_of_word_suffix"] = "</w>"; }},
        Refusal{"IgnoreMergesOfNoBoolean", "/model/ignore_merges is 1; true or false",
                [](json& f) { model(f)["ignore_merges"] = 1; }},
        Refusal{"UnknownSetting", "/model/new is 1; this setting is not known",
                [](json& f) { model(f)["new"] = 1; }},
        Refusal{"Truncation", "/truncation is {",
                [](json& f) {
                  f["truncation"] = {{"a", 1}};
                }},
        Refusal{"Normalizer", "/normalizer is {\"type\":\"NFKC\"}; null, NFC",
                [](json& f) {
                  f["normalizer"] = {{"type", "NFKC"}};
                }},
        Refusal{
            "NormalizerInSequence", "/normalizer/normalizers/0 is {\"type\":\"Lowercase\"}",
            [](json& f) {
              f["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}};
            }},
        Refusal{"PreTokenizer", "/pre_tokenizer is {\"type\":\"Whitespace\"}",
                [](json& f) {
                  f["pre_tokenizer"] = {{"type", "Whitespace"}};
                }},
        Refusal{"PrefixSpace", "/pre_tokenizer/add_prefix_space is true",
                [](json& f) { f["pre_tokenizer"]["add_prefix_space"] = true; }},
        Refusal{"PrefixSpaceByDefault", "/pre_tokenizer/add_prefix_space is null",
                [](json& f) { f["pre_tokenizer"].erase("add_prefix_space"); }},
        Refusal{"Pattern",
                "/pre_tokenizer/pretokenizers/0/pattern/Regex is \"\\\\w+\"; the patterns of",
                [](json& f) { f["pre_tokenizer"] = split_then_bytes(R"(\w+)", "Isolated"); }},
        Refusal{"EmptyPattern", "/pre_tokenizer/pretokenizers/0/pattern/Regex is \"\"",
                [](json& f) { f["pre_tokenizer"] = split_then_bytes("", "Isolated"); }},
        Refusal{"Behavior", "/pre_tokenizer/pretokenizers/0/behavior is \"Removed\"",
                [](json& f) { f["pre_tokenizer"] = split_then_bytes("[\r\n]", "Removed"); }},
        Refusal{"DigitsInRuns", "/pre_tokenizer/individual_digits is null; only true",
                [](json& f) {
                  f["pre_tokenizer"] = {{"type", "Digits"}};
                }},
        Refusal{"NoByteLevel", "ByteLevel last",
                [](json& f) {
                  f["pre_tokenizer"] = split_then_bytes("[\r\n]", "Isolated")["pretokenizers"][0];
                }},
        Refusal{"NoSplit", "the steps of GPT-2, Llama 3",
                [](json& f) { f["pre_tokenizer"]["use_regex"] = false; }},
        Refusal{"OtherSteps", "the steps of GPT-2, Llama 3",
                [](json& f) { f["pre_tokenizer"] = split_then_bytes("[\r\n]", "Isolated"); }},
        Refusal{"StepAfterByteLevel", "nothing can be read after ByteLevel",
                [](json& f) {
                  json steps = json::array({f["pre_tokenizer"], {{"type", "Digits"}}});
                  f["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
                }},
        Refusal{"PostProcessor", "/post_processor is {\"type\":\"BertProcessing\"}",
                [](json& f) {
                  f["post_processor"] = {{"type", "BertProcessing"}};
                }},
        Refusal{"TemplateWithEnd", "at most one special token in front",
                [](json& f) {
                  f["post_processor"] = {{"type", "TemplateProcessing"},
                                         {"single",
                                          {{{"Sequence", {{"id", "A"}}}},
                                           {{"SpecialToken", {{"id", "<|endoftext|>"}}}}}}};
                }},
        Refusal{"Decoder", "/decoder is {\"type\":\"Metaspace\"}",
                [](json& f) {
                  f["decoder"] = {{"type", "Metaspace"}};
                }},
        Refusal{"AddedTwice", "another added token has this content",
                [](json& f) {
                  f["added_tokens"].push_back(f["added_tokens"][0]);
                  f["added_tokens"][1]["id"] = 640;
                }},
        Refusal{"AddedWithTakenId", "two tokens have the id 5",
                [](json& f) { add_token(f, "<x>", 5); }},
        Refusal{"AddedBehindAHole", "token id 641 is not one of 0 to 640",
                [](json& f) { add_token(f, "<x>", 641); }},
        Refusal{"AddedWithoutContent", "token 640 has 0 bytes",
                [](json& f) { add_token(f, "", 640); }},
        Refusal{"AddedTooLong", "token 640 has 1025 bytes",
                [](json& f) { add_token(f, std::string(1025, 'x'), 640); }},
        Refusal{"AddedWithSpace", "/added_tokens/1/content is \"a b\"",
                [](json& f) { add_token(f, "a b", 640); }},
        Refusal{"AddedStrips", "/added_tokens/0/lstrip is true",
                [](json& f) { f["added_tokens"][0]["lstrip"] = true; }},
        Refusal{"AddedSingleWord", "/added_tokens/0/single_word is true",
                [](json& f) { f["added_tokens"][0]["single_word"] = true; }},
        Refusal{"AddedHugeId", "/added_tokens/0/id is 4194304",
                [](json& f) { f["added_tokens"][0]["id"] = 1 << 22; }},
        Refusal{"AddedNotInFormC", "is not in form NFC itself",
                [](json& f) {
                  f["normalizer"] = {{"type", "NFC"}};
                  add_token(f, "e\u0301", 640);
                }},
        Refusal{"AddedIsAByte", "no token for byte 97",
                [](json& f) { add_token(f, "a", f["model"]["vocab"]["a"]); }},
        Refusal{"SpecialElsewhere",
                "\"<|endoftext|>\" has id 5 in added_tokens and 639 in the vocab",
                [](json& f) { f["added_tokens"][0]["id"] = 5; }},
        Refusal{"NoEnd", "no token is known that ends a text",
                [](json& f) {
                  f["added_tokens"] = json::array();
                  model(f)["vocab"].erase("<|endoftext|>");
                }},
        Refusal{"HoleInIds", "token id 640 is not one of 0 to 639",
                [](json& f) { model(f)["vocab"]["a"] = 640; }},
        Refusal{"NegativeId", "token id -1", [](json& f) { model(f)["vocab"]["a"] = -1; }},
        Refusal{"TwiceTheSameId", "two tokens have the id",
                [](json& f) { model(f)["vocab"]["a"] = model(f)["vocab"]["b"]; }},
        Refusal{"NotByteLevel", "stands for no byte",
                [](json& f) {
                  model(f)["vocab"]["\u4e2d"] = model(f)["vocab"]["a"];
                  model(f)["vocab"].erase("a");
                }},
        Refusal{"ByteMissing", "no token for byte 97",
                [](json& f) {
                  model(f)["vocab"]["xyzzy"] = model(f)["vocab"]["a"];
                  model(f)["vocab"].erase("a");
                }},
        Refusal{"TooLongToken", "has 2000 bytes",
                [](json& f) {
                  model(f)["vocab"][std::string(2000, 'x')] = model(f)["vocab"]["a"];
                  model(f)["vocab"].erase("a");
                }},
        Refusal{"MergeOfUnknown", "not in the vocabulary",
                [](json& f) { model(f)["merges"][3] = "qqq z"; }},
        Refusal{"MergeIntoUnknown", "merge into one that is not in the vocabulary",
                [](json& f) { model(f)["merges"][3] = "q z"; }},
        Refusal{"MergeOfSpecial", "not in the vocabulary",
                [](json& f) { model(f)["merges"][3] = "<|endoftext|> a"; }},
        Refusal{"MergeOfOne", "not a pair", [](json& f) { model(f)["merges"][3] = "q"; }},
        Refusal{"MergeTwice", "stands there twice",
                [](json& f) { model(f)["merges"][3] = model(f)["merges"][2]; }}),
    [](const auto& info) { return info.param.name; });

TEST(Tokenizer, RefusesDamagedAndMissingFiles) {
  const std::string text = read_whole(golden_dir() + "/tokenizer.json");
  for (std::size_t size = 0; size + 2 < text.size(); size += 997) {
    expect_has(error_of(ErrorKind::kData, [&] { Tokenizer::from_json(text.substr(0, size), "x"); }),
               "no /model/vocab");
  }
  expect_has(
      error_of(ErrorKind::kData, [] { Tokenizer::from_json(std::string(1 << 20, '['), "x"); }),
      "nested too deeply");
  const ScratchDir dir;
  expect_has(error_of(ErrorKind::kData, [&] { Tokenizer::load(dir / "none"); }),
             "none/tokenizer.json: cannot open: No such file");
}

TEST(Tokenizer, LimitsAreWhereTheyAreSaidToBe) {
  const json file = json::parse(read_whole(golden_dir() + "/tokenizer.json"));
  for (const std::size_t size : {kMaxTokenBytes - 1, kMaxTokenBytes, kMaxTokenBytes + 1}) {
    json long_token = file;
    long_token["model"]["vocab"][std::string(size, 'x')] = 640;
    const auto read = [&] { Tokenizer::from_json(long_token.dump(), "x"); };
    const std::string message = error_of(ErrorKind::kData, read);
    EXPECT_EQ(message.empty(), size <= kMaxTokenBytes) << size << message;
  }
  const std::string text = file.dump();
  for (const std::size_t size : {kMaxTokenizerBytes, kMaxTokenizerBytes + 1}) {
    const std::string padded = text + std::string(size - text.size(), ' ');
    const std::string message =
        error_of(ErrorKind::kData, [&] { Tokenizer::from_json(padded, "x"); });
    EXPECT_EQ(message.empty(), size <= kMaxTokenizerBytes) << message;
  }
  std::string vocab;  // one token more than can be
  for (std::size_t id = 0; id <= kMaxVocabSize; ++id) {
    vocab += (id == 0 ? "\"" : ",\"") + std::to_string(id) + "\":" + std::to_string(id);
  }
  const std::string huge =
      R"({"version":"1.0","added_tokens":[],"pre_tokenizer":{"type":"ByteLevel",)"
      R"("add_prefix_space":false},"model":{"merges":[],"vocab":{)" +
      vocab + "}}}";
  expect_has(error_of(ErrorKind::kData, [&] { Tokenizer::from_json(huge, "x"); }),
             "a vocabulary of 4194305 tokens; up to 4194304 can be read");
}

}  // namespace
}  // namespace frugal
