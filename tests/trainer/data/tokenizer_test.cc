#include "trainer/data/tokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "nlohmann/json.hpp"
#include "tests/trainer/data/scratch.h"

namespace frugal {
namespace {

using nlohmann::json;

TEST(Tokenizer, LearnsAndWritesWhatTheGoldenSays) {
  for (const int threads : {1, 3}) {
    const ScratchDir dir;
    const std::vector<std::string> files = {golden_dir() + "/training.txt"};
    train_tokenizer(files, dir / "tokenizer",
                    TokenizerTrainingOptions{.vocab_size = 640, .threads = threads});
    EXPECT_EQ(read_whole(dir / "tokenizer/tokenizer.json"),
              read_whole(golden_dir() + "/tokenizer.json"));
  }
}

TEST(Tokenizer, EncodesAsHuggingFaceDoes) {
  const Tokenizer tokenizer = Tokenizer::load(golden_dir());
  const json cases = json::parse(read_whole(golden_dir() + "/cases.json"));
  ASSERT_GT(cases.size(), 50U);
  for (const json& item : cases) {
    const auto text = item["text"].get<std::string>();
    const auto expected = item["ids"].get<std::vector<std::int32_t>>();
    EXPECT_EQ(encode(tokenizer, text), expected) << text;
    EXPECT_EQ(tokenizer.decode(expected), text);
  }
}

TEST(Tokenizer, RandomBytesComeBack) {
  const Tokenizer tokenizer = Tokenizer::load(golden_dir());
  std::mt19937 generator(5);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    const int range = round % 2 == 0 ? 256 : 'z' + 1;  // any bytes, or mostly words and spaces
    for (int i = 0; i < round; ++i) text += static_cast<char>(generator() % range);
    EXPECT_EQ(tokenizer.decode(encode(tokenizer, text)), text);
  }
}

TEST(Tokenizer, BytesOfIdsAddUpToTheText) {
  const Tokenizer tokenizer = Tokenizer::load(golden_dir());
  EXPECT_EQ(tokenizer.vocab_size(), 640);
  EXPECT_EQ(tokenizer.end_of_text(), 639);
  EXPECT_EQ(tokenizer.bytes_of(639), "");
  EXPECT_EQ(tokenizer.decode(std::vector{tokenizer.end_of_text()}), "<|endoftext|>");
  const std::string text = read_whole(golden_dir() + "/training.txt");
  std::size_t bytes = 0;
  for (const std::int32_t id : encode(tokenizer, text)) bytes += tokenizer.bytes_of(id).size();
  EXPECT_EQ(bytes, text.size());
  for (const std::int32_t id : {-1, 640}) {
    expect_has(error_of(ErrorKind::kData, [&] { tokenizer.decode(std::vector{id}); }),
               "not one of the tokenizer's 0 to 639");
  }
}

TEST(Tokenizer, ALongWordTakesNoQuadraticTime) {
  const Tokenizer tokenizer = Tokenizer::load(golden_dir());
  std::string text;
  while (text.size() < 3'000'000) text += "abathethe";
  EXPECT_EQ(tokenizer.decode(encode(tokenizer, text)), text);
}

TEST(Tokenizer, DigestChangesWithWhatDecidesTheEncoding) {
  const json file = json::parse(read_whole(golden_dir() + "/tokenizer.json"));
  const std::string digest = Tokenizer::from_json(file.dump(), "a").digest();
  EXPECT_EQ(digest.size(), 32U);
  EXPECT_EQ(Tokenizer::from_json(file.dump(4), "b").digest(), digest);  // spaces do not count

  json merges = file;
  std::swap(merges["model"]["merges"][0], merges["model"]["merges"][1]);
  EXPECT_NE(Tokenizer::from_json(merges.dump(), "c").digest(), digest);
  json ids = file;
  std::swap(ids["model"]["vocab"]["a"], ids["model"]["vocab"]["b"]);
  EXPECT_NE(Tokenizer::from_json(ids.dump(), "d").digest(), digest);
}

TEST(Tokenizer, ReadsMergesAsPairsToo) {
  json file = json::parse(read_whole(golden_dir() + "/tokenizer.json"));
  const std::string digest = Tokenizer::from_json(file.dump(), "a").digest();
  for (json& merge : file["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const std::size_t space = text.find(' ');
    merge = json::array({text.substr(0, space), text.substr(space + 1)});
  }
  EXPECT_EQ(Tokenizer::from_json(file.dump(), "b").digest(), digest);
}

TEST(Tokenizer, OfEqualPairsTheLeftmostMerges) {
  const ScratchDir dir;
  const std::vector<std::string> files = {dir.write("text", "aa aa aa")};
  train_tokenizer(files, dir / "t", TokenizerTrainingOptions{.vocab_size = 258});
  const Tokenizer tokenizer = Tokenizer::load(dir / "t");
  ASSERT_EQ(tokenizer.bytes_of(256), "aa");
  const std::int32_t a = encode(tokenizer, "a")[0];
  std::vector<std::int32_t> expected(50, 256);
  expected.push_back(a);
  EXPECT_EQ(encode(tokenizer, std::string(101, 'a')), expected);
}

TEST(Tokenizer, RunsOfOneLetterAreCountedRight) {
  const ScratchDir dir;
  // (a, a) stands there 2 + 2 + 1 + 1 times, (a, b) 4 times; then (aa, a) twice.
  const std::vector<std::string> files = {dir.write("text", "aaa\naaa\nab\nab\nab\nab\naa\naa")};
  train_tokenizer(files, dir / "t", TokenizerTrainingOptions{.vocab_size = 260});
  const Tokenizer tokenizer = Tokenizer::load(dir / "t");
  EXPECT_EQ(tokenizer.bytes_of(256), "aa");
  EXPECT_EQ(tokenizer.bytes_of(257), "ab");
  EXPECT_EQ(tokenizer.bytes_of(258), "aaa");
}

TEST(Tokenizer, AByteWithoutTokenIsLeftOut) {
  json file = json::parse(read_whole(golden_dir() + "/tokenizer.json"));
  file["model"]["vocab"]["abcxyz"] = file["model"]["vocab"]["\u0100"];  // byte 0
  file["model"]["vocab"].erase("\u0100");
  const Tokenizer tokenizer = Tokenizer::from_json(file.dump(), "a");
  using namespace std::string_view_literals;
  EXPECT_EQ(tokenizer.decode(encode(tokenizer, "a\0\0b"sv)), "ab");
  EXPECT_EQ(encode(tokenizer, "th\0e"sv), encode(tokenizer, "the"));  // and merges go across it
  EXPECT_TRUE(encode(tokenizer, "\0"sv).empty());
}

// Shards and checkpoints hold the digest of the tokenizers that are trained here.
TEST(Tokenizer, DigestOfOurOwnStays) {
  EXPECT_EQ(Tokenizer::load(golden_dir()).digest(), "532986ce89d6a7a698accd0354c70f6b");
}

TEST(Tokenizer, TrainingRefusesWhatCannotBe) {
  const ScratchDir dir;
  const std::vector<std::string> files = {dir.write("text", "a b c")};
  const auto train = [&](int size) {
    train_tokenizer(files, dir / "t", TokenizerTrainingOptions{.vocab_size = size});
  };
  expect_has(error_of(ErrorKind::kUsage, [&] { train(256); }), "choose from 257");
  expect_has(error_of(ErrorKind::kUsage, [&] { train(1000); }), "no more than 259 tokens");
  EXPECT_FALSE(std::filesystem::exists(dir / "t"));
  train(257);
  const std::vector<std::string> missing = {dir / "none"};
  expect_has(error_of(ErrorKind::kData, [&] { train_tokenizer(missing, dir / "u", {}); }),
             "none: cannot open");
}

}  // namespace
}  // namespace frugal
