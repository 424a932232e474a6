// The header of a token shard; the layout is in README.md.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "trainer/data/checksum.h"

namespace frugal {

static_assert(std::endian::native == std::endian::little, "shards are little-endian");

struct ShardHeader {
  std::array<char, 8> magic = {'F', 'R', 'G', 'T', 'O', 'K', 'S', '\n'};
  std::uint32_t version = 1;      // 2: with a mask, packed
  std::uint32_t token_width = 2;  // bytes: 2 for vocabularies up to 65536, else 4
  std::uint64_t tokens = 0;
  std::uint64_t documents = 0;  // that start in this shard
  std::uint64_t text_bytes = 0;
  std::uint32_t vocab_size = 0;
  std::uint32_t shard = 0;  // 0, 1, ...
  std::uint32_t is_last = 0;
  std::uint32_t packed_length = 0;  // version 2: no sample crosses a multiple of so many tokens
  Checksum tokenizer_digest{};
  Checksum data_checksum{};  // of everything after the header
  std::array<std::byte, 24> reserved_too{};
  Checksum header_checksum{};  // of everything before this field
};
static_assert(sizeof(ShardHeader) == 128);

inline constexpr std::uint64_t kMaxShardTokens = std::uint64_t{1} << 40;

// The tokens are followed by zeros up to a multiple of eight bytes.
inline std::uint64_t padded_token_bytes(const ShardHeader& header) {
  return (header.tokens * header.token_width + 7) / 8 * 8;
}
// One bit for each token, in words of 64, the first in the lowest bit; version 2 only.
inline std::uint64_t mask_words(const ShardHeader& header) {
  return header.version < 2 ? 0 : (header.tokens + 63) / 64;
}
inline std::uint64_t shard_file_bytes(const ShardHeader& header) {
  return sizeof header + padded_token_bytes(header) + 8 * header.documents + 8 * mask_words(header);
}
inline Checksum header_checksum(const ShardHeader& header) {
  return checksum(
      std::as_bytes(std::span(&header, 1)).first(offsetof(ShardHeader, header_checksum)));
}
std::string shard_path(const std::string& dir, std::uint32_t shard);  // dir/00000.tokens, ...

}  // namespace frugal
