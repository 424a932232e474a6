#include <algorithm>
#include <filesystem>
#include <queue>
#include <unordered_map>
#include <utility>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "trainer/data/bpe.h"
#include "trainer/data/files.h"
#include "trainer/data/text_pieces.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/tokenizer_json.h"
#include "trainer/data/words.h"

namespace frugal {
namespace {

using WordCounts = std::unordered_map<std::string_view, std::int64_t>;

void count_words(std::string_view text, WordCounts& counts) {
  while (true) {
    const std::size_t special = text.find(kEndOfText);
    std::string_view plain = text.substr(0, special);
    while (!plain.empty()) {
      const std::size_t length = first_word(plain);
      ++counts[plain.substr(0, length)];
      plain.remove_prefix(length);
    }
    if (special == std::string_view::npos) return;
    text.remove_prefix(special + kEndOfText.size());
  }
}

WordCounts count_words(std::span<const std::string_view> texts, int threads) {
  TextPieces pieces(texts, std::size_t{1} << 20);
  std::vector<WordCounts> counts(threads);
  run_threads(threads, [&](int thread) {
    while (const auto piece = pieces.next()) count_words(piece->text, counts[thread]);
  });
  for (int thread = 1; thread < threads; ++thread) {
    for (const auto& [word, count] : counts[thread]) counts[0][word] += count;
  }
  return std::move(counts[0]);
}

struct PairHash {
  std::size_t operator()(const TokenPair& pair) const {
    return ((static_cast<std::uint64_t>(pair.first) << 32) ^ pair.second) * 0x9E3779B97F4A7C15U >>
           16;
  }
};

// Sennrich et al. 2016: merges the most frequent pair of neighbours, again and again. A merged pair
// never comes up again, nor does another pair that spells the same token: until a piece of text is
// one token, what happens inside it depends on its bytes alone.
class MergeLearner {
 public:
  explicit MergeLearner(const WordCounts& counts) {
    std::array<std::int32_t, 256> of_byte{};
    for (const std::uint8_t byte : bytes_by_character()) {
      of_byte[byte] = add_token(std::string(1, static_cast<char>(byte)));
    }
    for (const auto& [text, count] : counts) {
      Word& word = words_.emplace_back(Word{{}, count});
      for (const char c : text) word.tokens.push_back(of_byte[static_cast<std::uint8_t>(c)]);
      for (std::size_t i = 1; i < word.tokens.size(); ++i) {
        change({word.tokens[i - 1], word.tokens[i]}, count, words_.size() - 1);
      }
    }
    apply_changes();
  }

  int vocab_size() const { return static_cast<int>(tables_.tokens.size()); }

  // False when no pair is left.
  bool learn_one() {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const auto found = pairs_.find(top.pair);
      if (found == pairs_.end() || found->second.count <= 0) continue;
      std::string merged = tables_.tokens[top.pair.first] + tables_.tokens[top.pair.second];
      if (merged.size() > kMaxTokenBytes) continue;
      if (found->second.count != top.count) {
        // It has become rarer since. (Where it became more frequent, it was queued again.)
        if (found->second.count < top.count) queue_.push({found->second.count, top.pair});
        continue;
      }
      merge(top.pair, add_token(std::move(merged)));
      return true;
    }
    return false;
  }

  TokenizerTables finish() {
    tables_.end_of_text = vocab_size();
    tables_.tokens.emplace_back(kEndOfText);
    tables_.added = {{.id = tables_.end_of_text, .content = std::string(kEndOfText)}};
    return std::move(tables_);
  }

 private:
  struct Word {
    std::vector<std::int32_t> tokens;
    std::int64_t count;
  };
  struct Pair {
    std::int64_t count = 0;
    std::vector<std::size_t> words;  // each that has or had it, perhaps more than once
  };
  struct Candidate {
    std::int64_t count;
    TokenPair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  std::int32_t add_token(std::string bytes) {
    tables_.tokens.push_back(std::move(bytes));
    return vocab_size() - 1;
  }

  void change(const TokenPair& pair, std::int64_t by, std::size_t word) {
    changes_[pair] += by;
    if (by > 0) {
      auto& words = pairs_[pair].words;
      if (words.empty() || words.back() != word) words.push_back(word);
    }
  }

  void apply_changes() {
    for (const auto& [pair, by] : changes_) {
      const std::int64_t count = pairs_[pair].count += by;
      if (by > 0 && count > 0) queue_.push({count, pair});
    }
    changes_.clear();
  }

  void merge(const TokenPair& pair, std::int32_t token) {
    const std::vector<std::size_t> words = std::move(pairs_[pair].words);
    tables_.merges.push_back(pair);
    for (const std::size_t index : words) merge_in_word(pair, token, index);
    apply_changes();
    pairs_.erase(pair);
  }

  void merge_in_word(const TokenPair& pair, std::int32_t token, std::size_t index) {
    auto& [tokens, count] = words_[index];
    std::size_t kept = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i + 1 == tokens.size() || tokens[i] != pair.first || tokens[i + 1] != pair.second) {
        tokens[kept++] = tokens[i];
        continue;
      }
      if (kept > 0) {
        change({tokens[kept - 1], pair.first}, -count, index);
        change({tokens[kept - 1], token}, count, index);
      }
      if (i + 2 < tokens.size()) {
        change({pair.second, tokens[i + 2]}, -count, index);
        change({token, tokens[i + 2]}, count, index);
      }
      tokens[kept++] = token;
      ++i;
    }
    tokens.resize(kept);
  }

  TokenizerTables tables_;
  std::vector<Word> words_;
  std::unordered_map<TokenPair, Pair, PairHash> pairs_;
  std::unordered_map<TokenPair, std::int64_t, PairHash> changes_;  // of the merge at hand
  std::priority_queue<Candidate> queue_;
};

}  // namespace

void train_tokenizer(std::span<const std::string> files, const std::string& dir,
                     const TokenizerTrainingOptions& options) {
  if (options.vocab_size < 257 || options.vocab_size > static_cast<int>(kMaxVocabSize)) {
    fail(ErrorKind::kUsage, "tokenizer: a vocabulary of ", options.vocab_size,
         " tokens: choose from 257 (256 bytes and ", kEndOfText, ") to ", kMaxVocabSize);
  }
  const auto report = [&](const std::string& line) {
    if (options.progress) options.progress(line);
  };
  const std::vector<MappedFile> mapped(files.begin(), files.end());
  std::vector<std::string_view> texts;
  texts.reserve(mapped.size());
  for (const MappedFile& file : mapped) texts.push_back(file.text());
  const WordCounts counts = count_words(texts, std::max(options.threads, 1));
  report(fmt::format("{} different words", counts.size()));

  MergeLearner learner(counts);
  EverySecond second;
  while (learner.vocab_size() + 1 < options.vocab_size) {
    if (!learner.learn_one()) {
      fail(ErrorKind::kUsage, "tokenizer: the text gives no more than ", learner.vocab_size() + 1,
           " tokens: ask for a vocabulary of at most that size, not ", options.vocab_size);
    }
    if (second.due()) {
      report(fmt::format("{} of {} tokens", learner.vocab_size() + 1, options.vocab_size));
    }
  }
  make_folder(dir);
  const std::string path = (std::filesystem::path(dir) / "tokenizer.json").string();
  write_whole_file(path, write_tokenizer_json(learner.finish()));
  report(fmt::format("wrote {}", path));
}

}  // namespace frugal
