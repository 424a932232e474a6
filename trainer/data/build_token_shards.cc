#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "trainer/data/build_output.h"
#include "trainer/data/files.h"
#include "trainer/data/shard_writer.h"
#include "trainer/data/text_pieces.h"
#include "trainer/data/token_shards.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/validation_split.h"

namespace frugal {
namespace {

using Tokens = std::vector<std::int32_t>;

// Brings results that are ready in any order into the order of their indices. Thread-safe.
class InOrder {
 public:
  explicit InOrder(std::int64_t ahead) : ahead_(ahead) {}

  // Waits while `index` is too far ahead of what was taken. False after stop().
  bool put(std::int64_t index, Tokens tokens) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || index < next_ + ahead_; });
    ready_.emplace(index, std::move(tokens));
    changed_.notify_all();
    return !stopped_;
  }
  // The next result. False when there are no more: after stop(), or when all `producers` are done.
  bool take(Tokens& tokens, int producers) {
    std::unique_lock lock(mutex_);
    const auto is_next = [&] { return !ready_.empty() && ready_.begin()->first == next_; };
    changed_.wait(lock, [&] { return stopped_ || is_next() || done_ == producers; });
    if (stopped_ || !is_next()) return false;
    tokens = std::move(ready_.begin()->second);
    ready_.erase(ready_.begin());
    ++next_;
    changed_.notify_all();
    return true;
  }
  void producer_done() {
    const std::lock_guard lock(mutex_);
    ++done_;
    changed_.notify_all();
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, Tokens> ready_;
  std::int64_t next_ = 0;
  std::int64_t ahead_;
  int done_ = 0;
  bool stopped_ = false;
};

// Says once a second how far all folders together are.
class Progress {
 public:
  Progress(std::size_t total_bytes, const std::function<void(std::string_view)>& report)
      : total_(static_cast<double>(total_bytes)), report_(report) {}
  // `tokens` more tokens stand for `bytes` more bytes.
  void add(std::size_t bytes, std::size_t tokens) {
    bytes_ += static_cast<double>(bytes);
    tokens_ += static_cast<double>(tokens);
    if (report_ && second_.due()) {
      report_(fmt::format("tokenised {:.1f} of {:.1f} MB ({:.0f}%), {:.1f}M tokens, {:.1f} MB/s",
                          bytes_ / 1e6, total_ / 1e6, 100 * bytes_ / total_, tokens_ / 1e6,
                          bytes_ / 1e6 / second_.seconds()));
    }
  }

 private:
  double total_, bytes_ = 0, tokens_ = 0;
  const std::function<void(std::string_view)>& report_;
  EverySecond second_;
};

// One piece of text is a megabyte: enough for a word cache to pay, and for many threads to share a
// file. Threads 0 .. n-1 encode, thread n writes.
void build_folder(std::span<const std::string_view> texts, const std::string& dir,
                  const Tokenizer& tokenizer, const DataBuildOptions& options, Progress& progress) {
  const int encoders = std::max(options.threads, 1);
  TextPieces pieces(texts, std::size_t{1} << 20);
  InOrder results(std::int64_t{4} * encoders);
  ShardWriter writer(dir, tokenizer, options.shard_tokens);
  const std::int32_t end_of_text = tokenizer.end_of_text();
  const auto encode = [&] {
    while (const auto piece = pieces.next()) {
      Tokens tokens;
      tokenizer.encode(piece->text, tokens);
      const bool ended = !tokens.empty() && tokens.back() == end_of_text;
      if (piece->ends_text && !ended) tokens.push_back(end_of_text);
      if (!results.put(piece->index, std::move(tokens))) return;
    }
    results.producer_done();
  };
  const auto write = [&] {
    Tokens tokens;
    while (results.take(tokens, encoders)) {
      const std::int64_t before = writer.text_bytes();
      writer.add(tokens);
      progress.add(static_cast<std::size_t>(writer.text_bytes() - before), tokens.size());
    }
  };
  run_threads(encoders + 1, [&](int thread) {
    try {
      thread < encoders ? encode() : write();
    } catch (...) {
      results.stop();
      throw;
    }
  });
  writer.finish();
}

void build_parts(const ValidationSplit& split, const std::filesystem::path& dir,
                 const Tokenizer& tokenizer, const DataBuildOptions& options) {
  std::size_t bytes = 0;
  for (const auto* texts : {&split.train, &split.validation}) {
    for (const std::string_view text : *texts) bytes += text.size();
  }
  Progress progress(bytes, options.progress);
  build_folder(split.train, (dir / "train").string(), tokenizer, options, progress);
  if (!split.validation.empty()) {
    build_folder(split.validation, (dir / "validation").string(), tokenizer, options, progress);
  }
}

}  // namespace

void build_token_shards(std::span<const std::string> files, const Tokenizer& tokenizer,
                        const DataBuildOptions& options) {
  if (!(options.validation_fraction >= 0.0 && options.validation_fraction < 1.0)) {
    fail(ErrorKind::kUsage, "data build: --validation-fraction is ", options.validation_fraction,
         ", expected at least 0 and below 1");
  }
  if (options.shard_tokens < 1 || std::cmp_greater(options.shard_tokens, kMaxShardTokens)) {
    fail(ErrorKind::kUsage, "data build: ", options.shard_tokens, " tokens a shard; from 1 to ",
         kMaxShardTokens, " are possible");
  }
  check_no_output(options.output_dir);
  const std::vector<MappedFile> mapped(files.begin(), files.end());
  std::vector<std::string_view> texts;
  texts.reserve(mapped.size());
  for (const MappedFile& file : mapped) texts.push_back(file.text());
  const std::string separator = tokenizer.decode(std::vector{tokenizer.end_of_text()});
  const ValidationSplit split = split_validation(texts, options.validation_fraction, separator);

  build_output(options.output_dir, [&](const std::filesystem::path& dir) {
    build_parts(split, dir, tokenizer, options);
  });
}

}  // namespace frugal
