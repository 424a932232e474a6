// Token shards: what `frugal data build` writes and the loader maps into memory. The byte layout is
// in trainer/data/README.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/data/tokenizer.h"

namespace frugal {

// The shards of one folder as one long row of tokens. Memory-mapped, read-only, thread-safe.
class TokenShards {
 public:
  // Checks headers, sizes and the checksum of the header of every shard. Throws Error(kData):
  // missing, truncated, foreign.
  static TokenShards open(const std::string& dir);

  ~TokenShards();
  TokenShards(TokenShards&&) noexcept;

  std::int64_t tokens() const;
  int vocab_size() const;  // of the tokenizer that made them
  const std::string& tokenizer_digest() const;
  const std::string& digest()
      const;  // XXH3-128 over the headers (which hold the checksums of the data)
  std::int64_t text_bytes() const;  // bytes of text that the tokens stand for
  std::int64_t documents() const;
  // Copies tokens [begin, begin + out.size()); they may span shards. Throws Error(kData) on an id
  // >= vocab_size, naming shard and place.
  void read(std::int64_t begin, std::span<std::int32_t> out) const;
  // Whether each of the tokens from `begin` on is a target. REQUIRES: packed_length() > 0.
  void read_learned(std::int64_t begin, std::vector<bool>& out) const;
  // Of shards made from conversations: no sample crosses a multiple of so many tokens. 0 of shards
  // made from text, of which everything is learned.
  int packed_length() const;
  // First token of document `index` and of the next, or the end.
  std::pair<std::int64_t, std::int64_t> document(std::int64_t index) const;
  // First token of the document that holds token `position`.
  std::int64_t document_begin(std::int64_t position) const;
  // Reads everything back and compares the checksums. Throws Error(kData) naming the shard.
  void verify() const;

 private:
  struct Impl;
  explicit TokenShards(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct DataBuildOptions {
  std::string output_dir;             // gets train/ and validation/
  double validation_fraction = 0.05;  // of the bytes, from the end of the input; validation_split.h
                                      // says where the cut is
  int threads = 1;
  std::int64_t shard_tokens = std::int64_t{1} << 27;
  std::function<void(std::string_view)> progress;  // one line a second; may be empty. Called from
                                                   // another thread, never from two at once
};

// Tokenises text files into documents, each followed by end_of_text. A document ends where a file
// ends and where the text names the tokenizer's end_of_text; a file without text is none. Runs in
// parallel, with output that does not depend on the number of threads. Writes to
// output_dir/.building and renames, so a half-made output is never taken for a whole one. Throws
// Error(kUsage) if train/ or validation/ is there already, Error(kData) for a file that cannot be
// read or a disk that is full.
void build_token_shards(std::span<const std::string> files, const Tokenizer& tokenizer,
                        const DataBuildOptions& options);

}  // namespace frugal
