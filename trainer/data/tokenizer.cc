#include "trainer/data/tokenizer.h"

#define XXH_INLINE_ALL
#include <algorithm>
#include <bit>
#include <filesystem>

#include "kernels/core/check.h"
#include "trainer/data/bpe.h"
#include "trainer/data/checksum.h"
#include "trainer/data/files.h"
#include "trainer/data/tokenizer_json.h"
#include "trainer/data/words.h"
#include "xxhash.h"

namespace frugal {
namespace {

std::string digest_of(const BpeTables& tables) {
  Checksummer sum;
  sum.add_value(static_cast<std::uint64_t>(tables.tokens.size()));
  for (const std::string& token : tables.tokens) {
    sum.add_value(static_cast<std::uint64_t>(token.size()));
    sum.add_text(token);
  }
  sum.add_value(tables.end_of_text);
  for (const auto& [left, right] : tables.merges) {
    sum.add_value(left);
    sum.add_value(right);
  }
  return to_hex(sum.result());
}

// Words seen before in one call, and where in the output their tokens stand. A slot keeps the last
// word that fell into it.
class WordCache {
 public:
  struct Entry {
    std::string_view word;
    std::size_t begin = 0;
    std::size_t tokens = 0;
  };
  explicit WordCache(std::size_t text_bytes)
      : entries_(std::bit_ceil(std::clamp<std::size_t>(text_bytes / 16, 16, 1 << 16))) {}
  Entry& slot(std::string_view word) {
    return entries_[XXH3_64bits(word.data(), word.size()) & (entries_.size() - 1)];
  }

 private:
  std::vector<Entry> entries_;
};

}  // namespace

struct Tokenizer::Impl {
  Impl(BpeTables from, const std::string& name)
      : tables(std::move(from)),
        merges(tables.merges, merged_tokens(tables, name)),
        digest(digest_of(tables)) {
    for (std::size_t id = 0; id < tables.tokens.size(); ++id) {
      const std::string& token = tables.tokens[id];
      if (token.size() == 1) {
        of_byte[static_cast<std::uint8_t>(token[0])] = static_cast<std::int32_t>(id);
      }
    }
  }

  void encode_plain(std::string_view text, WordCache& cache, WordMerger& merger,
                    std::vector<std::int32_t>& out) const {
    while (!text.empty()) {
      const std::string_view word = text.substr(0, first_word(text));
      text.remove_prefix(word.size());
      WordCache::Entry& entry = cache.slot(word);
      const std::size_t begin = out.size();
      if (entry.word == word) {
        out.resize(begin + entry.tokens);
        std::copy_n(out.data() + entry.begin, entry.tokens, out.data() + begin);
        continue;
      }
      for (const char byte : word) out.push_back(of_byte[static_cast<std::uint8_t>(byte)]);
      merger.merge(out, begin);
      entry = {word, begin, out.size() - begin};
    }
  }

  BpeTables tables;
  MergeTable merges;
  std::string digest;
  std::array<std::int32_t, 256> of_byte{};
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::string& dir) {
  const std::string path = (std::filesystem::path(dir) / "tokenizer.json").string();
  if (!std::filesystem::exists(path)) {
    fail(ErrorKind::kData, path,
         ": cannot open: No such file; train a tokenizer with 'frugal tokenizer train', or name "
         "another folder");
  }
  return from_json(MappedFile(path).text(), path);
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& name) {
  return Tokenizer(std::make_unique<Impl>(read_tokenizer_json(json, name), name));
}

int Tokenizer::vocab_size() const {
  return static_cast<int>(impl_->tables.tokens.size());
}
std::int32_t Tokenizer::end_of_text() const {
  return impl_->tables.end_of_text;
}
const std::string& Tokenizer::digest() const {
  return impl_->digest;
}

void Tokenizer::encode(std::string_view text, std::vector<std::int32_t>& out) const {
  WordCache cache(text.size());
  WordMerger merger(impl_->merges);
  while (true) {
    const std::size_t special = text.find(kEndOfText);
    impl_->encode_plain(text.substr(0, special), cache, merger, out);
    if (special == std::string_view::npos) return;
    out.push_back(end_of_text());
    text.remove_prefix(special + kEndOfText.size());
  }
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string out;
  for (const std::int32_t id : ids) out += id == end_of_text() ? kEndOfText : bytes_of(id);
  return out;
}

std::string_view Tokenizer::bytes_of(std::int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    fail(ErrorKind::kData, "token id ", id, " is not one of the tokenizer's 0 to ",
         vocab_size() - 1);
  }
  return id == end_of_text() ? std::string_view() : impl_->tables.tokens[id];
}

}  // namespace frugal
