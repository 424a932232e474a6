#include "trainer/data/token_shards.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "trainer/data/files.h"
#include "trainer/data/shard_format.h"

namespace frugal {
namespace {

constexpr std::string_view kRebuild = ": build the data again with 'frugal data build'";

struct Shard {
  MappedFile file;
  ShardHeader header;
  std::uint64_t first_token = 0;  // of all shards' tokens
  std::string digest;             // of the tokenizer

  const std::byte* tokens() const { return file.bytes().data() + sizeof(ShardHeader); }
  // Where documents start, as tokens of this shard, rising.
  std::span<const std::uint64_t> documents() const {
    const std::byte* start = tokens() + padded_token_bytes(header);
    return {reinterpret_cast<const std::uint64_t*>(start), header.documents};
  }
  bool learned(std::uint64_t at) const {
    std::uint64_t word = 0;
    const std::byte* mask = tokens() + padded_token_bytes(header) + 8 * header.documents;
    std::memcpy(&word, mask + at / 64 * sizeof word, sizeof word);
    return (word >> (at % 64) & 1) != 0;
  }
  std::uint32_t token(std::uint64_t at) const {
    std::uint32_t id = 0;
    std::memcpy(&id, tokens() + at * header.token_width, header.token_width);
    return id;
  }
  [[noreturn]] void fail_token(std::uint64_t at) const {
    fail(ErrorKind::kData, file.path(), ": token ", at, " has id ", token(at),
         ", but its vocabulary has only ", header.vocab_size, kRebuild);
  }
};

Shard open_shard(const std::string& path) {
  Shard shard{MappedFile(path), {}, 0, {}};
  const auto bytes = shard.file.bytes();
  ShardHeader& header = shard.header;
  const ShardHeader ours;
  const std::size_t known = std::min(bytes.size(), sizeof header);
  if (known > 0) std::memcpy(&header, bytes.data(), known);
  if (known < sizeof ours.magic || header.magic != ours.magic) {
    fail(ErrorKind::kData, path, ": not a token shard", kRebuild);
  }
  if (known < sizeof header) fail(ErrorKind::kData, path, ": cut off in its header", kRebuild);
  if (header.version != 1 && header.version != 2) {
    fail(ErrorKind::kData, path, ": format version ", header.version,
         ", this program reads 1 and 2", kRebuild);
  }
  const bool plausible = header.header_checksum == header_checksum(header) &&
                         (header.token_width == 2 || header.token_width == 4) &&
                         header.tokens <= kMaxShardTokens && header.documents <= header.tokens &&
                         header.vocab_size > 0 && header.vocab_size <= INT32_MAX &&
                         (header.version == 2) == (header.packed_length > 0) &&
                         header.packed_length <= INT32_MAX;
  if (!plausible) fail(ErrorKind::kData, path, ": the header is damaged", kRebuild);
  if (bytes.size() != shard_file_bytes(header)) {
    fail(ErrorKind::kData, path, ": ", bytes.size(), " bytes instead of ", shard_file_bytes(header),
         kRebuild);
  }
  shard.digest = to_hex(header.tokenizer_digest);
  return shard;
}

}  // namespace

std::string shard_path(const std::string& dir, std::uint32_t shard) {
  return (std::filesystem::path(dir) / fmt::format("{:05}.tokens", shard)).string();
}

struct TokenShards::Impl {
  std::vector<Shard> shards;
  std::string digest;
  std::uint64_t tokens = 0, text_bytes = 0, documents = 0;

  const Shard& shard_of(std::int64_t position) const {
    FRUGAL_CHECK(position >= 0 && std::cmp_less(position, tokens), "token ", position, " of ",
                 tokens);
    const auto after = std::ranges::upper_bound(shards, static_cast<std::uint64_t>(position), {},
                                                &Shard::first_token);
    return *std::prev(after);
  }
};

TokenShards::TokenShards(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TokenShards::~TokenShards() = default;
TokenShards::TokenShards(TokenShards&&) noexcept = default;

TokenShards TokenShards::open(const std::string& dir) {
  auto impl = std::make_unique<Impl>();
  Checksummer sum;
  bool is_last = false;
  for (std::uint32_t i = 0; !is_last; ++i) {
    const std::string path = shard_path(dir, i);
    if (!std::filesystem::exists(path)) {
      fail(ErrorKind::kData, path, i == 0 ? ": no token shards here" : ": this shard is missing",
           kRebuild);
    }
    Shard shard = open_shard(path);
    if (shard.header.shard != i) {
      fail(ErrorKind::kData, path, ": this is shard ", shard.header.shard, kRebuild);
    }
    if (i > 0 && (shard.digest != impl->shards[0].digest ||
                  shard.header.vocab_size != impl->shards[0].header.vocab_size)) {
      fail(ErrorKind::kData, path, ": made with another tokenizer than shard 0", kRebuild);
    }
    if (i > 0 && shard.header.packed_length != impl->shards[0].header.packed_length) {
      fail(ErrorKind::kData, path, ": packed for another length than shard 0", kRebuild);
    }
    shard.first_token = impl->tokens;
    impl->tokens += shard.header.tokens;
    impl->text_bytes += shard.header.text_bytes;
    impl->documents += shard.header.documents;
    sum.add_value(shard.header);
    is_last = shard.header.is_last != 0;
    impl->shards.push_back(std::move(shard));
  }
  impl->digest = to_hex(sum.result());
  return TokenShards(std::move(impl));
}

std::int64_t TokenShards::tokens() const {
  return static_cast<std::int64_t>(impl_->tokens);
}
int TokenShards::vocab_size() const {
  return static_cast<int>(impl_->shards[0].header.vocab_size);
}
const std::string& TokenShards::tokenizer_digest() const {
  return impl_->shards[0].digest;
}
const std::string& TokenShards::digest() const {
  return impl_->digest;
}
std::int64_t TokenShards::text_bytes() const {
  return static_cast<std::int64_t>(impl_->text_bytes);
}
std::int64_t TokenShards::documents() const {
  return static_cast<std::int64_t>(impl_->documents);
}

void TokenShards::read(std::int64_t begin, std::span<std::int32_t> out) const {
  FRUGAL_CHECK(begin >= 0 && std::cmp_less_equal(begin + out.size(), impl_->tokens), "tokens ",
               begin, " to ", begin + out.size(), " of ", impl_->tokens);
  while (!out.empty()) {
    const Shard& shard = impl_->shard_of(begin);
    const std::uint64_t first = static_cast<std::uint64_t>(begin) - shard.first_token;
    const std::size_t count = std::min<std::uint64_t>(out.size(), shard.header.tokens - first);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t id = shard.token(first + i);
      if (id >= shard.header.vocab_size) shard.fail_token(first + i);
      out[i] = static_cast<std::int32_t>(id);
    }
    begin += static_cast<std::int64_t>(count);
    out = out.subspan(count);
  }
}

int TokenShards::packed_length() const {
  return static_cast<int>(impl_->shards[0].header.packed_length);
}

void TokenShards::read_learned(std::int64_t begin, std::vector<bool>& out) const {
  FRUGAL_CHECK(packed_length() > 0);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::int64_t at = begin + static_cast<std::int64_t>(i);
    const Shard& shard = impl_->shard_of(at);
    out[i] = shard.learned(static_cast<std::uint64_t>(at) - shard.first_token);
  }
}

std::pair<std::int64_t, std::int64_t> TokenShards::document(std::int64_t index) const {
  FRUGAL_CHECK(index >= 0 && index < documents(), "document ", index, " of ", documents());
  const auto begin_of = [&](std::uint64_t number) {
    for (const Shard& shard : impl_->shards) {
      if (number < shard.header.documents) {
        return static_cast<std::int64_t>(shard.first_token + shard.documents()[number]);
      }
      number -= shard.header.documents;
    }
    return tokens();
  };
  const std::int64_t begin = begin_of(static_cast<std::uint64_t>(index));
  const std::int64_t end = begin_of(static_cast<std::uint64_t>(index) + 1);
  if (begin < 0 || begin >= end || end > tokens()) {
    fail(ErrorKind::kData, impl_->shards[0].file.path(), ": the list of documents is damaged",
         kRebuild);
  }
  return {begin, end};
}

std::int64_t TokenShards::document_begin(std::int64_t position) const {
  const Shard* shard = &impl_->shard_of(position);
  while (true) {
    const auto documents = shard->documents();
    const std::uint64_t local = static_cast<std::uint64_t>(position) - shard->first_token;
    const auto after = std::ranges::upper_bound(documents, local);
    if (after != documents.begin()) {
      const std::uint64_t begin = *std::prev(after);
      if (begin > local) break;  // not rising: damaged
      return static_cast<std::int64_t>(shard->first_token + begin);
    }
    if (shard == impl_->shards.data()) break;
    --shard;
  }
  fail(ErrorKind::kData, shard->file.path(), ": the list of documents is damaged", kRebuild);
}

void TokenShards::verify() const {
  for (const Shard& shard : impl_->shards) {
    if (checksum(shard.file.bytes().subspan(sizeof(ShardHeader))) != shard.header.data_checksum) {
      fail(ErrorKind::kData, shard.file.path(), ": the data is damaged (wrong checksum)", kRebuild);
    }
    for (std::uint64_t i = 0; i < shard.header.tokens; ++i) {
      if (shard.token(i) >= shard.header.vocab_size) shard.fail_token(i);
    }
    std::uint64_t least = 0;
    for (const std::uint64_t begin : shard.documents()) {
      if (begin < least || begin >= shard.header.tokens) {
        fail(ErrorKind::kData, shard.file.path(), ": the list of documents is damaged", kRebuild);
      }
      least = begin + 1;
    }
  }
}

}  // namespace frugal
