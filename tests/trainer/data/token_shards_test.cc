#include "trainer/data/token_shards.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/trainer/data/scratch.h"
#include "trainer/data/shard_format.h"

namespace frugal {
namespace {

using Tokens = std::vector<std::int32_t>;

// n paragraphs, all different, about 60 bytes each.
std::string text_of(int n, int first = 0) {
  std::string text;
  for (int i = first; i < first + n; ++i) {
    text += "And it came to pass in the year " + std::to_string(i * 7919) +
            " that they said, \u00c6on!\n";
  }
  return text;
}

const Tokenizer& golden_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::load(golden_dir());
  return tokenizer;
}

DataBuildOptions options_for(const std::string& output) {
  DataBuildOptions options;
  options.output_dir = output;
  return options;
}

Tokens all_tokens(const TokenShards& shards) {
  Tokens tokens(shards.tokens());
  shards.read(0, tokens);
  return tokens;
}

Tokens joined(std::initializer_list<Tokens> parts) {
  Tokens out;
  for (const Tokens& part : parts) {
    out.insert(out.end(), part.begin(), part.end());
    out.push_back(639);
  }
  return out;
}

TEST(TokenShards, HoldDocumentsInOrder) {
  const ScratchDir dir;
  const Tokenizer tokenizer = Tokenizer::load(golden_dir());
  const std::vector<std::string> files = {
      dir.write("a", "one two"), dir.write("empty", ""),
      dir.write("b", "three<|endoftext|>four five<|endoftext|>")};
  DataBuildOptions options = options_for(dir / "out");
  options.validation_fraction = 0.0;
  build_token_shards(files, golden_tokenizer(), options);

  const TokenShards shards = TokenShards::open(dir / "out/train");
  const Tokens expected = joined(
      {encode(tokenizer, "one two"), encode(tokenizer, "three"), encode(tokenizer, "four five")});
  EXPECT_EQ(all_tokens(shards), expected);
  EXPECT_EQ(shards.documents(), 3);
  EXPECT_EQ(shards.text_bytes(), 7 + 5 + 9);
  EXPECT_EQ(shards.vocab_size(), 640);
  EXPECT_EQ(shards.tokenizer_digest(), tokenizer.digest());
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < shards.tokens(); ++i) {
    EXPECT_EQ(shards.document_begin(i), begin) << i;
    if (expected[i] == 639) begin = i + 1;
  }
  shards.verify();
  EXPECT_FALSE(std::filesystem::exists(dir / "out/validation"));
  EXPECT_FALSE(std::filesystem::exists(dir / "out/.building"));
}

TEST(TokenShards, AreTheSameForAnyNumberOfThreads) {
  const ScratchDir dir;
  // More than a piece (1 MiB) per file, so that files are cut.
  const std::vector<std::string> files = {dir.write("a", text_of(50000)),
                                          dir.write("b", text_of(30000, 50000))};
  for (const int threads : {1, 3}) {
    DataBuildOptions options = options_for(dir / std::to_string(threads));
    options.threads = threads;
    options.shard_tokens = 400'000;
    build_token_shards(files, golden_tokenizer(), options);
  }
  for (const char* part : {"/train/", "/validation/"}) {
    int shards = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir / "1" + part)) {
      const std::string name = entry.path().filename().string();
      EXPECT_EQ(read_whole(dir / "1" + part + name), read_whole(dir / "3" + part + name)) << name;
      ++shards;
    }
    EXPECT_EQ(shards, part == std::string("/train/") ? 7 : 1);
  }

  // Cutting files into pieces changes no token.
  const TokenShards train = TokenShards::open(dir / "3/train");
  const Tokens tokens = all_tokens(train);
  Tokens whole = encode(Tokenizer::load(golden_dir()), read_whole(files[0]));
  ASSERT_LT(whole.size(), tokens.size());
  EXPECT_TRUE(std::equal(whole.begin(), whole.end(), tokens.begin()));
  EXPECT_EQ(tokens[whole.size()], 639);
  EXPECT_EQ(train.document_begin(whole.size()), 0);  // across shards
  EXPECT_EQ(train.document_begin(train.tokens() - 1), whole.size() + 1);
  Tokens middle(900'000);
  train.read(350'000, middle);
  EXPECT_TRUE(std::equal(middle.begin(), middle.end(), tokens.begin() + 350'000));
}

TEST(TokenShards, ValidationIsTheEndOfTheText) {
  const ScratchDir dir;
  const std::string text = text_of(1000);
  const std::vector<std::string> files = {dir.write("a", text)};
  DataBuildOptions options = options_for(dir / "out");
  options.validation_fraction = 0.1;
  build_token_shards(files, golden_tokenizer(), options);
  const Tokenizer tokenizer = Tokenizer::load(golden_dir());
  Tokens train = all_tokens(TokenShards::open(dir / "out/train"));
  Tokens validation = all_tokens(TokenShards::open(dir / "out/validation"));
  EXPECT_EQ(train.back(), 639);
  EXPECT_EQ(validation.back(), 639);
  train.pop_back();
  validation.pop_back();
  const std::string end = tokenizer.decode(validation);
  EXPECT_EQ(tokenizer.decode(train) + end, text);
  EXPECT_NEAR(static_cast<double>(end.size()), 0.1 * static_cast<double>(text.size()), 80);
  EXPECT_TRUE(end.starts_with("And it came"));  // at a line
}

TEST(TokenShards, ValidationBeginsWithADocumentWhereItCan) {
  const ScratchDir dir;
  for (const bool separator : {false, true}) {
    const std::string first = text_of(880) + (separator ? "<|endoftext|>" : "");
    const std::string second = text_of(120, 880);
    std::vector<std::string> files = {dir.write("a", first), dir.write("b", second)};
    if (separator) files = {dir.write("ab", first + second)};
    DataBuildOptions options = options_for(dir / std::to_string(separator));
    options.validation_fraction = 0.1;
    build_token_shards(files, golden_tokenizer(), options);
    const TokenShards validation = TokenShards::open(options.output_dir + "/validation");
    EXPECT_EQ(validation.text_bytes(), second.size());
    EXPECT_EQ(TokenShards::open(options.output_dir + "/train").documents(), 1);
  }
}

TEST(TokenShards, ValidationBeginsWithTheNearestDocument) {
  const ScratchDir dir;
  const std::vector<std::string> files = {dir.write("a", text_of(860)), dir.write("b", text_of(35)),
                                          dir.write("c", text_of(35)), dir.write("d", text_of(70))};
  DataBuildOptions options = options_for(dir / "out");
  options.validation_fraction = 0.1;
  build_token_shards(files, golden_tokenizer(), options);
  const TokenShards validation = TokenShards::open(dir / "out/validation");
  EXPECT_EQ(validation.text_bytes(), text_of(35).size() + text_of(70).size());
  EXPECT_EQ(validation.documents(), 2);
}

TEST(TokenShards, BuildRefusesWhatCannotBe) {
  const ScratchDir dir;
  const std::vector<std::string> files = {dir.write("a", text_of(10))};
  DataBuildOptions options = options_for(dir / "out");
  options.validation_fraction = 1.0;
  const auto build = [&] { build_token_shards(files, golden_tokenizer(), options); };
  expect_has(error_of(ErrorKind::kUsage, build), "--validation-fraction is 1");
  options.validation_fraction = 0.05;
  build();
  expect_has(error_of(ErrorKind::kUsage, build), "already there");
  const std::vector<std::string> none = {dir / "none"};
  options.output_dir = dir / "other";
  expect_has(
      error_of(ErrorKind::kData, [&] { build_token_shards(none, golden_tokenizer(), options); }),
      "none: cannot open");
  const std::vector<std::string> folder = {dir / "out"};
  expect_has(
      error_of(ErrorKind::kData, [&] { build_token_shards(folder, golden_tokenizer(), options); }),
      "not a regular file");
  const std::vector<std::string> short_text = {dir.write("s", "abc")};
  expect_has(error_of(ErrorKind::kData,
                      [&] { build_token_shards(short_text, golden_tokenizer(), options); }),
             "cannot be cut");
  EXPECT_FALSE(std::filesystem::exists(dir / "other/train"));
}

// A folder with three shards, for damage.
class DamagedShards : public testing::Test {
 protected:
  DamagedShards() {
    const std::vector<std::string> files = {dir_.write("a", text_of(100))};
    DataBuildOptions options = options_for(dir_ / "out");
    options.validation_fraction = 0.0;
    const std::int64_t tokens = [&] {
      build_token_shards(files, golden_tokenizer(), options);
      return TokenShards::open(train_).tokens();
    }();
    std::filesystem::remove_all(train_);
    options.shard_tokens = tokens / 3 + 1;
    build_token_shards(files, golden_tokenizer(), options);
  }
  std::string shard(int i) const { return shard_path(train_, i); }
  void replace(int i, const std::string& content) const {
    std::ofstream(shard(i), std::ios::binary) << content;
  }
  std::string open_error() const {
    return error_of(ErrorKind::kData, [&] { TokenShards::open(train_); });
  }

  ScratchDir dir_;
  std::string train_ = dir_ / "out/train";
};

TEST_F(DamagedShards, MissingShard) {
  EXPECT_EQ(TokenShards::open(train_).documents(), 1);
  std::filesystem::remove(shard(2));
  expect_has(open_error(), "00002.tokens: this shard is missing");
  std::filesystem::remove(shard(0));
  expect_has(open_error(), "00000.tokens: no token shards here");
}

TEST_F(DamagedShards, SwappedShard) {
  replace(1, read_whole(shard(2)));
  expect_has(open_error(), "00001.tokens: this is shard 2");
}

TEST_F(DamagedShards, EveryTruncationIsFoundOnOpening) {
  const std::string whole = read_whole(shard(1));
  for (std::size_t size = 0; size < whole.size(); size += size < 256 ? 1 : 97) {
    replace(1, whole.substr(0, size));
    expect_has(open_error(), "00001.tokens: ");
  }
  replace(1, whole + '\0');
  expect_has(open_error(), "bytes instead of");
}

TEST_F(DamagedShards, EveryFlippedByteIsFound) {
  const std::string whole = read_whole(shard(0));
  for (std::size_t at = 0; at < whole.size(); at += at < 256 ? 1 : 13) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    replace(0, damaged);
    const std::string message =
        error_of(ErrorKind::kData, [&] { TokenShards::open(train_).verify(); });
    expect_has(message, "00000.tokens: ");
    // The header is checked without reading the data.
    if (at < sizeof(ShardHeader)) {
      EXPECT_NE(open_error(), "") << at;
    }
  }
}

TEST_F(DamagedShards, TokenBeyondTheVocabulary) {
  std::string damaged = read_whole(shard(0));
  damaged[sizeof(ShardHeader) + 11] = '\x7f';
  replace(0, damaged);
  const TokenShards shards = TokenShards::open(train_);
  Tokens tokens(5);
  shards.read(0, tokens);
  expect_has(error_of(ErrorKind::kData, [&] { shards.read(1, tokens); }),
             "00000.tokens: token 5 has id");
}

TEST(TokenShards, WideIds) {
  // A vocabulary that needs four bytes: the golden one with many tokens more.
  std::string json = read_whole(golden_dir() + "/tokenizer.json");
  std::string more;
  for (int id = 640; id < 70000; ++id) {
    more += ", \"extra" + std::to_string(id) + "\": " + std::to_string(id);
  }
  const std::string last = "\"<|endoftext|>\": 639";
  json.insert(json.find(last) + last.size(), more);
  const ScratchDir dir;
  std::filesystem::create_directories(dir / "wide");
  dir.write("wide/tokenizer.json", json);
  const std::vector<std::string> files = {dir.write("a", text_of(3))};
  DataBuildOptions options = options_for(dir / "out");
  options.validation_fraction = 0.0;
  build_token_shards(files, Tokenizer::load(dir / "wide"), options);
  const TokenShards shards = TokenShards::open(dir / "out/train");
  EXPECT_EQ(shards.vocab_size(), 70000);
  EXPECT_EQ(all_tokens(shards), joined({encode(Tokenizer::load(golden_dir()), text_of(3))}));
  EXPECT_EQ(read_whole(dir / "out/train/00000.tokens").size(),
            sizeof(ShardHeader) + (shards.tokens() * 4 + 7) / 8 * 8 + 8);
  shards.verify();
}

}  // namespace
}  // namespace frugal
