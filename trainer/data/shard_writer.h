// Writes the token shards of one folder.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainer/data/files.h"
#include "trainer/data/shard_format.h"
#include "trainer/data/tokenizer.h"

namespace frugal {

// Makes the folder. Throws Error(kData) where the system refuses.
class ShardWriter {
 public:
  // packed_length: 0, or of shards that hold samples with a mask.
  ShardWriter(const std::string& dir, const Tokenizer& tokenizer, std::int64_t shard_tokens,
              std::uint32_t packed_length = 0);
  void add(std::span<const std::int32_t> tokens);  // a document ends with end_of_text
  // One document, whatever tokens it has; `learned` marks those that are targets. REQUIRES: packed.
  void add_sample(std::span<const std::int32_t> tokens, const std::vector<bool>& learned);
  void pad(std::int64_t tokens);  // with end_of_text, not learned, as part of the sample before
  void finish();                  // all is on the disk after this
  std::int64_t text_bytes() const { return text_bytes_; }  // that the tokens so far stand for

 private:
  void append(std::span<const std::byte> bytes);
  void add_token(std::int32_t token, bool starts_document, bool learned);
  void start_shard();
  void finish_shard(bool is_last);

  std::string dir_;
  const Tokenizer& tokenizer_;
  std::uint64_t shard_tokens_;
  std::uint32_t packed_length_;
  std::vector<std::uint32_t> bytes_of_;  // of text, by token
  std::int64_t text_bytes_ = 0;
  bool at_document_start_ = true;
  // Of the shard at hand:
  ShardHeader header_;
  std::vector<std::uint64_t> documents_;
  std::vector<std::uint64_t> mask_;
  std::vector<std::byte> buffer_;
  std::optional<Checksummer> sum_;
  std::optional<FileWriter> file_;
};

}  // namespace frugal
