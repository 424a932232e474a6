#include "trainer/data/shard_writer.h"

#include <cstring>

#include "kernels/core/check.h"
#include "trainer/data/files.h"

namespace frugal {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;

Checksum from_hex(const std::string& digits) {
  Checksum out;
  FRUGAL_CHECK(digits.size() == 2 * out.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::byte>(std::stoi(digits.substr(2 * i, 2), nullptr, 16));
  }
  return out;
}

}  // namespace

ShardWriter::ShardWriter(const std::string& dir, const Tokenizer& tokenizer,
                         std::int64_t shard_tokens, std::uint32_t packed_length)
    : dir_(dir),
      tokenizer_(tokenizer),
      shard_tokens_(static_cast<std::uint64_t>(shard_tokens)),
      packed_length_(packed_length) {
  for (int id = 0; id < tokenizer.vocab_size(); ++id) {
    bytes_of_.push_back(static_cast<std::uint32_t>(tokenizer.bytes_of(id).size()));
  }
  make_folder(dir);
  start_shard();
}

void ShardWriter::start_shard() {
  const std::uint32_t shard = file_ ? header_.shard + 1 : 0;
  header_ = {};
  header_.shard = shard;
  header_.version = packed_length_ == 0 ? 1 : 2;
  header_.packed_length = packed_length_;
  header_.vocab_size = static_cast<std::uint32_t>(tokenizer_.vocab_size());
  header_.token_width = header_.vocab_size <= 65536 ? 2 : 4;
  header_.tokenizer_digest = from_hex(tokenizer_.digest());
  documents_.clear();
  mask_.clear();
  sum_.emplace();
  file_.emplace(shard_path(dir_, shard));
  file_->write(std::as_bytes(std::span(&header_, 1)));  // its place; the content comes last
}

void ShardWriter::append(std::span<const std::byte> bytes) {
  sum_->add(bytes);
  file_->write(bytes);
}

void ShardWriter::add(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) {
    add_token(token, at_document_start_, false);
    at_document_start_ = token == tokenizer_.end_of_text();
  }
}

void ShardWriter::add_sample(std::span<const std::int32_t> tokens,
                             const std::vector<bool>& learned) {
  FRUGAL_CHECK(packed_length_ > 0 && tokens.size() == learned.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) add_token(tokens[i], i == 0, learned[i]);
}

void ShardWriter::pad(std::int64_t tokens) {
  for (std::int64_t i = 0; i < tokens; ++i) add_token(tokenizer_.end_of_text(), false, false);
}

void ShardWriter::add_token(std::int32_t token, bool starts_document, bool learned) {
  if (header_.tokens == shard_tokens_) {
    finish_shard(false);
    start_shard();
  }
  if (starts_document) documents_.push_back(header_.tokens);
  if (packed_length_ > 0) {
    if (header_.tokens % 64 == 0) mask_.push_back(0);
    mask_.back() |= std::uint64_t{learned} << (header_.tokens % 64);
  }
  header_.text_bytes += bytes_of_[token];
  text_bytes_ += bytes_of_[token];
  ++header_.tokens;
  const auto id = std::as_bytes(std::span(&token, 1)).first(header_.token_width);
  buffer_.insert(buffer_.end(), id.begin(), id.end());
  if (buffer_.size() >= kBufferBytes) {
    append(buffer_);
    buffer_.clear();
  }
}

void ShardWriter::finish_shard(bool is_last) {
  const std::uint64_t padding = padded_token_bytes(header_) - header_.tokens * header_.token_width;
  buffer_.resize(buffer_.size() + padding);
  append(buffer_);
  buffer_.clear();
  append(std::as_bytes(std::span(documents_)));
  append(std::as_bytes(std::span(mask_)));
  header_.documents = documents_.size();
  header_.is_last = is_last ? 1 : 0;
  header_.data_checksum = sum_->result();
  header_.header_checksum = header_checksum(header_);
  file_->overwrite_start(std::as_bytes(std::span(&header_, 1)));
  file_->finish();
}

void ShardWriter::finish() {
  finish_shard(true);
  sync_dir(dir_);
}

}  // namespace frugal
