#include "trainer/data/tokenizer.h"

#define XXH_INLINE_ALL
#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <filesystem>
#include <unordered_map>
#include <utility>

#include "kernels/core/check.h"
#include "trainer/data/added_tokens.h"
#include "trainer/data/bpe.h"
#include "trainer/data/checksum.h"
#include "trainer/data/files.h"
#include "trainer/data/nfc.h"
#include "trainer/data/tokenizer_config.h"
#include "trainer/data/tokenizer_json.h"
#include "trainer/data/words.h"
#include "xxhash.h"

namespace frugal {
namespace {

// Of the settings that a tokenizer trained here has, nothing is added: its digest is in checkpoints
// and shards.
void add_settings(const TokenizerTables& tables, Checksummer& sum) {
  const TokenizerTables ours;
  const std::vector<AddedToken> only_end = {
      {.id = tables.end_of_text, .content = std::string(kEndOfText)}};
  if (tables.added == only_end && tables.steps == ours.steps && !tables.nfc &&
      !tables.ignore_merges) {
    return;
  }
  for (const SplitPattern step : tables.steps) sum.add_value(step);
  sum.add_value(tables.nfc);
  sum.add_value(tables.ignore_merges);
  for (const AddedToken& token : tables.added) {
    sum.add_value(token.id);
    sum.add_value(token.special);
    sum.add_value(token.normalized);
  }
}

std::string digest_of(const TokenizerTables& tables) {
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
  add_settings(tables, sum);
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

AddedTokenFinder finder_of(const std::vector<AddedToken>& added, bool normalized, bool special) {
  std::vector<const AddedToken*> chosen;
  for (const AddedToken& token : added) {
    if (token.normalized == normalized && (special || !token.special)) chosen.push_back(&token);
  }
  return AddedTokenFinder(std::move(chosen));
}

// Added tokens are looked for in the text as it is, then in what is left of it once normalised.
struct AddedTokenFinders {
  AddedTokenFinders(const std::vector<AddedToken>& added, bool special)
      : raw(finder_of(added, false, special)), normalized(finder_of(added, true, special)) {}
  AddedTokenFinder raw, normalized;
};

}  // namespace

struct Tokenizer::Impl {
  // `folder`: what other files say besides.
  Impl(TokenizerTables from, FolderTokens folder, const std::string& name)
      : tables(std::move(from)),
        all(tables.added, true),
        without_special(tables.added, false),
        merges(tables.merges, merged_tokens(tables, name)),
        stops(std::move(folder.ends)) {
    if (tables.end_of_text < 0 && stops.empty()) {
      fail(ErrorKind::kData, name, ": no token is known that ends a text: none is called ",
           kEndOfText,
           ", <|end_of_text|> or </s>, and no tokenizer_config.json beside it names one");
    }
    if (tables.end_of_text < 0) tables.end_of_text = stops[0];
    const auto place = std::ranges::lower_bound(stops, tables.end_of_text);
    if (place == stops.end() || *place != tables.end_of_text)
      stops.insert(place, tables.end_of_text);
    if (!tables.begin_of_text) tables.begin_of_text = folder.begin_of_text;
    digest = digest_of(tables);
    of_byte.fill(-1);
    is_special.resize(tables.tokens.size());
    std::vector<bool> is_added(tables.tokens.size());
    for (const AddedToken& token : tables.added) {
      is_added[token.id] = true;
      is_special[token.id] = token.special;
    }
    for (std::size_t id = 0; id < tables.tokens.size(); ++id) {
      if (!is_added[id]) add_word(tables.tokens[id], static_cast<std::int32_t>(id));
    }
  }

  void add_word(std::string_view bytes, std::int32_t id) {
    if (bytes.size() == 1) of_byte[static_cast<std::uint8_t>(bytes[0])] = id;
    if (tables.ignore_merges) of_word.emplace(bytes, id);
  }

  TokenizerTables tables;
  AddedTokenFinders all, without_special;
  MergeTable merges;
  std::vector<std::int32_t> stops;
  std::string digest;
  std::vector<bool> is_special;
  std::array<std::int32_t, 256> of_byte{};                     // -1 for a byte without a token
  std::unordered_map<std::string_view, std::int32_t> of_word;  // only with ignore_merges
};

// One call of encode.
class Tokenizer::Encoder {
 public:
  Encoder(const Impl& impl, const AddedTokenFinders& finders, std::size_t text_bytes,
          std::vector<std::int32_t>& out)
      : impl_(impl), finders_(finders), out_(out), cache_(text_bytes), merger_(impl.merges) {}

  void encode(std::string_view text) {
    split(finders_.raw, text, [&](std::string_view piece) {
      if (impl_.tables.nfc) {
        std::string changed = to_nfc(piece);
        if (!changed.empty()) piece = normalized_.emplace_back(std::move(changed));
      }
      split(finders_.normalized, piece, [&](std::string_view rest) { encode_plain(rest); });
    });
  }

 private:
  // Added tokens go to the output, what is between them to `rest`.
  template <class Rest>
  void split(const AddedTokenFinder& finder, std::string_view text, const Rest& rest) {
    while (true) {
      const auto [at, token] = finder.find(text);
      rest(text.substr(0, at));
      if (token == nullptr) return;
      out_.push_back(token->id);
      text.remove_prefix(at + token->content.size());
    }
  }

  void encode_plain(std::string_view text) {
    for_each_word(impl_.tables.steps, text, [&](std::string_view word) {
      WordCache::Entry& entry = cache_.slot(word);
      const std::size_t begin = out_.size();
      if (entry.word == word) {
        out_.resize(begin + entry.tokens);
        std::copy_n(out_.data() + entry.begin, entry.tokens, out_.data() + begin);
        return;
      }
      encode_word(word);
      entry = {word, begin, out_.size() - begin};
    });
  }

  void encode_word(std::string_view word) {
    if (impl_.tables.ignore_merges) {
      const auto found = impl_.of_word.find(word);
      if (found != impl_.of_word.end()) {
        out_.push_back(found->second);
        return;
      }
    }
    const std::size_t begin = out_.size();
    for (const char byte : word) {
      const std::int32_t token = impl_.of_byte[static_cast<std::uint8_t>(byte)];
      if (token >= 0) out_.push_back(token);
    }
    merger_.merge(out_, begin);
  }

  const Impl& impl_;
  const AddedTokenFinders& finders_;
  std::vector<std::int32_t>& out_;
  WordCache cache_;  // of words in the text or in normalized_
  WordMerger merger_;
  std::deque<std::string> normalized_;
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
  TokenizerTables tables = read_tokenizer_json(MappedFile(path).text(), path);
  FolderTokens folder = read_folder_tokens(dir, tables);
  return Tokenizer(std::make_unique<Impl>(std::move(tables), std::move(folder), path));
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& name,
                               std::vector<std::int32_t> ends) {
  FolderTokens folder{.ends = std::move(ends), .begin_of_text = {}};
  return Tokenizer(
      std::make_unique<Impl>(read_tokenizer_json(json, name), std::move(folder), name));
}

int Tokenizer::vocab_size() const {
  return static_cast<int>(impl_->tables.tokens.size());
}
std::int32_t Tokenizer::end_of_text() const {
  return impl_->tables.end_of_text;
}
const std::vector<std::int32_t>& Tokenizer::stop_tokens() const {
  return impl_->stops;
}
std::optional<std::int32_t> Tokenizer::begin_of_text() const {
  return impl_->tables.begin_of_text;
}
const std::string& Tokenizer::digest() const {
  return impl_->digest;
}

std::optional<std::int32_t> Tokenizer::special(std::string_view content) const {
  const auto found = std::ranges::find(impl_->tables.added, content, &AddedToken::content);
  if (found == impl_->tables.added.end()) return std::nullopt;
  return found->id;
}

void Tokenizer::encode(std::string_view text, std::vector<std::int32_t>& out) const {
  Encoder(*impl_, impl_->all, text.size(), out).encode(text);
}

void Tokenizer::encode_as_text(std::string_view text, std::vector<std::int32_t>& out) const {
  Encoder(*impl_, impl_->without_special, text.size(), out).encode(text);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string out;
  for (const std::int32_t id : ids) {
    check_id(id);
    out += impl_->tables.tokens[id];
  }
  return out;
}

std::string_view Tokenizer::bytes_of(std::int32_t id) const {
  check_id(id);
  return impl_->is_special[id] ? std::string_view() : impl_->tables.tokens[id];
}

void Tokenizer::check_id(std::int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    fail(ErrorKind::kData, "token id ", id, " is not one of the tokenizer's 0 to ",
         vocab_size() - 1);
  }
}

}  // namespace frugal
