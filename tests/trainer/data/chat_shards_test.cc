#include "trainer/data/chat_shards.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "nlohmann/json.hpp"
#include "tests/trainer/data/scratch.h"
#include "trainer/data/loader.h"
#include "trainer/data/shard_format.h"
#include "trainer/data/token_shards.h"

namespace frugal {
namespace {

using nlohmann::json;

std::string line_of(const std::string& question, const std::string& answer) {
  return json{{"messages",
               {{{"role", "user"}, {"content", question}},
                {{"role", "assistant"}, {"content", answer}}}},
              {"source", "a test"}}
             .dump() +
         "\n";
}

const Tokenizer& qwen() {
  static const Tokenizer tokenizer = Tokenizer::load(golden_dir() + "/qwen2");
  return tokenizer;
}

ChatBuildOptions options_for(const ScratchDir& dir, int length) {
  return {.output_dir = dir / "out", .sequence_length = length, .validation_fraction = 0.0};
}

// n samples of various lengths, all different.
std::string samples_of(int n) {
  std::mt19937 generator(11);
  std::string lines;
  for (int i = 0; i < n; ++i) {
    lines += line_of("question " + std::to_string(i) + std::string(generator() % 20, '?'),
                     "answer " + std::to_string(i * 7919) + std::string(generator() % 40, '!'));
  }
  return lines;
}

TEST(ReadSample, TakesMessagesAndInstructions) {
  auto chat = read_sample(
      R"({"id": 7, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
          {"role": "assistant", "content": "a"}]})",
      SampleKind::kChat);
  ASSERT_EQ(chat.size(), 3U);
  EXPECT_EQ(chat[0].role, ChatRole::kSystem);
  EXPECT_EQ(chat[1].content, "u");
  EXPECT_EQ(chat[2].role, ChatRole::kAssistant);
  const auto ask = [](const char* line) { return read_sample(line, SampleKind::kInstruction)[0]; };
  EXPECT_EQ(ask(R"({"instruction": "do", "input": "this", "output": "x"})").content, "do\n\nthis");
  EXPECT_EQ(ask(R"({"instruction": "do", "input": "", "output": "x"})").content, "do");
  EXPECT_EQ(ask(R"({"instruction": "do", "input": null, "output": "x"})").content, "do");
  EXPECT_EQ(ask(R"({"instruction": "do", "output": "x"})").role, ChatRole::kUser);
}

TEST(ReadSample, RefusesWithAReason) {
  const std::pair<const char*, const char*> chat[] = {
      {"{", "not a JSON object"},
      {"[]", "not a JSON object"},
      {"\"\xff\"", "not a JSON object"},
      {"{}", "no list \"messages\" found"},
      {R"({"messages": {}})", "no list \"messages\" found"},
      {R"({"messages": [1]})", "a message is not an object"},
      {R"({"messages": [{"role": "tool", "content": "x"}]})", "the role \"tool\" is not known"},
      {R"({"messages": [{"role": "user"}]})", "\"content\" is missing"},
      {R"({"messages": [{"role": "user", "content": []}]})", "\"content\" is not a text"},
      {R"({"messages": [{"role": "user", "content": "", "weight": 0}]})",
       "\"weight\" in a message is not known"},
      {R"({"messages": []})", "no message of an assistant"},
      {R"({"messages": [{"role": "user", "content": "x"}]})", "no message of an assistant"},
      {R"({"messages": [{"role": "user", "content": ""}, {"role": "system", "content": ""}]})",
       "message 2 is the system's"}};
  for (const auto& [text, says] : chat) {
    const char* line = text;
    expect_has(error_of(ErrorKind::kData, [&] { read_sample(line, SampleKind::kChat); }), says);
  }
  expect_has(
      error_of(ErrorKind::kData, [&] { read_sample(std::string(1000, '['), SampleKind::kChat); }),
      "nested too deeply");
  const std::pair<const char*, const char*> instruction[] = {
      {R"({"output": "x"})", "\"instruction\" is missing"},
      {R"({"instruction": "x"})", "\"output\" is missing"},
      {R"({"instruction": "x", "input": 3, "output": "y"})", "\"input\" is not a text"}};
  for (const auto& [text, says] : instruction) {
    const char* line = text;
    expect_has(error_of(ErrorKind::kData, [&] { read_sample(line, SampleKind::kInstruction); }),
               says);
  }
}

TEST(SampleLines, AreCountedAndLimited) {
  SampleLines lines("a\n\n \r\nb", "f");
  std::string_view line;
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "a");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "b");
  EXPECT_EQ(lines.place(), "f:4");
  EXPECT_FALSE(lines.next(line));
  for (const std::size_t size : {kMaxLineBytes - 1, kMaxLineBytes, kMaxLineBytes + 1}) {
    const std::string text = "x\n" + std::string(size, 'y') + "\n";
    SampleLines two(text, "g");
    two.next(line);
    const std::string message = error_of(ErrorKind::kData, [&] { two.next(line); });
    EXPECT_EQ(message.empty(), size <= kMaxLineBytes);
    if (!message.empty()) expect_has(message, "g:2: 67108865 bytes in one line");
  }
}

// Each sample's text, and behind a bar what is learned of it. Adds to learned_tokens.
std::vector<std::string> texts_of(const TokenShards& shards, int length,
                                  std::int64_t& learned_tokens) {
  const Tokenizer tokenizer = Tokenizer::load(golden_dir() + "/qwen2");
  std::vector<std::string> found;
  for (std::int64_t i = 0; i < shards.documents(); ++i) {
    const auto [begin, end] = shards.document(i);
    std::vector<std::int32_t> ids(end - begin);
    std::vector<bool> learned(ids.size());
    shards.read(begin, ids);
    shards.read_learned(begin, learned);
    while (ids.back() == tokenizer.end_of_text()) {
      EXPECT_FALSE(learned.back());
      ids.pop_back();
      learned.pop_back();
    }
    EXPECT_EQ(begin / length, (begin + std::ssize(ids) - 1) / length) << "crosses sequences";
    std::vector<std::int32_t> answer;
    for (std::size_t t = 0; t < ids.size(); ++t) {
      if (learned[t]) answer.push_back(ids[t]);
    }
    learned_tokens += std::ssize(answer);
    found.push_back(tokenizer.decode(ids) + "|" + tokenizer.decode(answer));
  }
  return found;
}

// Every sample is found once, whole, inside one sequence, with its answer as the only targets.
TEST(ChatShards, PackWholeSamples) {
  const ScratchDir dir;
  constexpr int kLength = 256;
  const std::string text = samples_of(300);
  const std::vector<std::string> files = {dir.write("a.jsonl", text)};
  const ChatBuildReport report = build_chat_shards(files, qwen(), options_for(dir, kLength));
  EXPECT_EQ(report.samples, 300);
  EXPECT_EQ(report.too_long, 0);
  EXPECT_EQ(report.chat_format, "chatml");
  // Best fit with 64 open sequences wastes little.
  EXPECT_LT(report.sequences * kLength, report.tokens * 1.1);

  const TokenShards shards = TokenShards::open(dir / "out/train");
  shards.verify();
  EXPECT_EQ(shards.packed_length(), kLength);
  EXPECT_EQ(shards.tokens(), report.sequences * kLength + 1);
  ASSERT_EQ(shards.documents(), 300);
  std::int64_t learned_tokens = 0;
  std::vector<std::string> found = texts_of(shards, kLength, learned_tokens);
  EXPECT_EQ(learned_tokens, report.learned);
  std::vector<std::string> expected;
  SampleLines lines(text, "");
  for (std::string_view line; lines.next(line);) {
    const auto messages = read_sample(line, SampleKind::kChat);
    const std::string answer = messages[1].content + "<|im_end|>";
    expected.push_back("<|im_start|>user\n" + messages[0].content +
                       "<|im_end|>\n<|im_start|>assistant\n" + answer + "\n|" + answer);
  }
  std::ranges::sort(found);
  std::ranges::sort(expected);
  EXPECT_EQ(found, expected);
}

LoaderOptions loader_options(const ScratchDir& dir, int length) {
  LoaderOptions options;
  options.sources = {{dir / "out/train", 1.0}};
  options.vocab_size = 1000;
  options.sequence_length = length;
  options.document_mask = true;
  options.shuffle = false;
  return options;
}

TEST(ChatShards, OnlyAnswersAreTargets) {
  const ScratchDir dir;
  constexpr int kLength = 64;
  const std::vector<std::string> files = {dir.write("a.jsonl", samples_of(100))};
  ChatBuildOptions build = options_for(dir, kLength);
  build.shard_tokens = 1000;  // the mask goes across shards
  const ChatBuildReport report = build_chat_shards(files, qwen(), build);
  const TokenShards shards = TokenShards::open(dir / "out/train");
  const auto loader = make_loader(loader_options(dir, kLength));
  ASSERT_EQ(loader->sequences(), report.sequences);
  std::int64_t targets = 0;
  for (std::int64_t n = 0; n < report.sequences; ++n) {
    const Batch batch = loader->microbatch(n, 0);
    std::vector<std::int32_t> row(kLength + 1);
    std::vector<bool> learned(kLength + 1);
    shards.read(n * kLength, row);
    shards.read_learned(n * kLength, learned);
    EXPECT_EQ(batch.document_start[0], 0);
    for (int i = 0; i < kLength; ++i) {
      EXPECT_EQ(batch.inputs[i], row[i]);
      EXPECT_EQ(batch.targets[i], learned[i + 1] ? row[i + 1] : -1);
      EXPECT_EQ(batch.document_start[i],
                std::max<std::int64_t>(shards.document_begin(n * kLength + i) - n * kLength, 0));
    }
    targets += batch.target_tokens;
  }
  EXPECT_EQ(targets, report.learned);  // none is lost between sequences
}

TEST(ChatShards, AreReadForTheLengthTheyWerePackedForOnly) {
  const ScratchDir dir;
  const std::vector<std::string> files = {dir.write("a.jsonl", samples_of(50))};
  build_chat_shards(files, qwen(), options_for(dir, 64));
  expect_has(error_of(ErrorKind::kData, [&] { make_loader(loader_options(dir, 32)); }),
             "packed for sequences of 64 tokens: set data.sequence_length to that");
  LoaderOptions unmasked = loader_options(dir, 64);
  unmasked.document_mask = false;
  expect_has(error_of(ErrorKind::kData, [&] { make_loader(unmasked); }),
             "set data.document_mask to true");
}

TEST(ChatShards, LeaveOutWhatIsTooLongAndSaySo) {
  const ScratchDir dir;
  const std::string text =
      line_of("a", "b") + line_of("a", std::string(500, '#')) + line_of("c", "d");
  const std::vector<std::string> files = {dir.write("a.jsonl", text)};
  const ChatBuildReport report = build_chat_shards(files, qwen(), options_for(dir, 64));
  EXPECT_EQ(report.samples, 2);
  EXPECT_EQ(report.too_long, 1);
}

TEST(ChatShards, ASampleOfExactlyASequenceFits) {
  const Tokenizer tokenizer = Tokenizer::load(golden_dir() + "/qwen2");
  const ChatFormat format = ChatFormat::of(tokenizer);
  const std::string line = line_of("a", "b");
  const auto size =
      static_cast<int>(format.render(read_sample(line, SampleKind::kChat)).ids.size());
  for (const int length : {size, size - 1}) {
    const ScratchDir dir;
    const std::vector<std::string> files = {dir.write("a.jsonl", line)};
    const std::string message = error_of(
        ErrorKind::kData, [&] { build_chat_shards(files, qwen(), options_for(dir, length)); });
    EXPECT_EQ(message.empty(), length == size) << message;
    if (length < size) {
      expect_has(message, "no sample for training fits into a sequence of");
      EXPECT_FALSE(std::filesystem::exists(dir / "out/train"));
      EXPECT_FALSE(std::filesystem::exists(dir / "out/.building"));
    }
  }
}

TEST(ChatShards, ValidationIsTheLastSamples) {
  const ScratchDir dir;
  const std::vector<std::string> files = {dir.write("a.jsonl", samples_of(40)),
                                          dir.write("b.jsonl", line_of("last", "one"))};
  ChatBuildOptions options = options_for(dir, 128);
  options.validation_fraction = 0.25;
  const ChatBuildReport report = build_chat_shards(files, qwen(), options);
  EXPECT_EQ(report.samples, 41);
  EXPECT_EQ(TokenShards::open(dir / "out/train").documents(), 31);
  EXPECT_EQ(TokenShards::open(dir / "out/validation").documents(), 10);
  expect_has(error_of(ErrorKind::kUsage, [&] { build_chat_shards(files, qwen(), options); }),
             "already there");
}

TEST(ChatShards, NameFileAndLineOfWhatIsWrong) {
  const ScratchDir dir;
  const auto refusal = [&](const std::string& text) {
    const std::vector<std::string> files = {dir.write("a.jsonl", text)};
    std::string message =
        error_of(ErrorKind::kData, [&] { build_chat_shards(files, qwen(), options_for(dir, 64)); });
    EXPECT_FALSE(std::filesystem::exists(dir / "out/train"));
    return message;
  };
  expect_has(refusal(line_of("a", "b") + "\n{]\n"), "a.jsonl:3: not a JSON object");
  expect_has(refusal(line_of("a", "b") + "{\"messages\": 3}"), "a.jsonl:2: no list \"messages\"");
  expect_has(refusal("\n \n"), "the files hold no samples");
  ChatBuildOptions options = options_for(dir, 1);
  const std::vector<std::string> files = {dir.write("a.jsonl", line_of("a", "b"))};
  expect_has(error_of(ErrorKind::kUsage, [&] { build_chat_shards(files, qwen(), options); }),
             "--sequence-length is 1");
}

// A damaged mask is found as any damage is.
TEST(ChatShards, DamageIsFound) {
  const ScratchDir dir;
  const std::vector<std::string> files = {dir.write("a.jsonl", samples_of(20))};
  build_chat_shards(files, qwen(), options_for(dir, 64));
  const std::string path = dir / "out/train/00000.tokens";
  std::string content = read_whole(path);
  content.back() ^= 1;
  dir.write("out/train/00000.tokens", content);
  expect_has(error_of(ErrorKind::kData, [&] { TokenShards::open(dir / "out/train").verify(); }),
             "the data is damaged (wrong checksum)");
  content.pop_back();
  dir.write("out/train/00000.tokens", content);
  expect_has(error_of(ErrorKind::kData, [&] { TokenShards::open(dir / "out/train"); }),
             "bytes instead of");
}

}  // namespace
}  // namespace frugal
