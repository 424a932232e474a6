#include "trainer/data/tokenizer_json.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "trainer/data/nfc.h"
#include "trainer/data/spelling.h"
#include "trainer/data/tokenizer_settings.h"

namespace frugal {
namespace {

using nlohmann::json;

constexpr std::string_view kNotOurs = ": not a byte-level BPE tokenizer.json, or a damaged one";
// What tokenizers call the token that ends a text; the first that is there counts.
constexpr std::string_view kEndNames[] = {kEndOfText, "<|end_of_text|>",
                                          "<\uff5cend\u2581of\u2581sentence\uff5c>", "</s>"};

std::string shown(const json& value) {
  return value.dump(-1, ' ', true, json::error_handler_t::replace);
}

void check_length(const std::string& token, std::int64_t id, const std::string& name) {
  if (token.empty() || token.size() > kMaxTokenBytes) {
    fail(ErrorKind::kData, name, ": token ", id, " has ", token.size(), " bytes; from 1 to ",
         kMaxTokenBytes, " can be read");
  }
}

AddedToken read_added(const JsonPlace& place) {
  place.expect_object(
      {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  const JsonPlace id = place["id"];
  const JsonPlace content = place["content"];
  if (!id.value.is_number_unsigned() || id.value.get<std::uint64_t>() >= kMaxVocabSize) {
    id.refuse("a token id is expected");
  }
  if (!content.value.is_string()) content.refuse("a text is expected");
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
    if (place[flag].boolean_or(false)) place[flag].refuse("only false can be read");
  }
  AddedToken token{.id = id.value.get<std::int32_t>(),
                   .content = content.value.get<std::string>(),
                   .special = place["special"].boolean_or(false),
                   .normalized = place["normalized"].boolean_or(true)};
  check_length(token.content, token.id, place.file);
  if (token.content.find_first_of(" \t\r\n\v\f") != std::string::npos) {
    content.refuse("added tokens without white space can be read");
  }
  return token;
}

std::vector<AddedToken> read_added_tokens(const JsonPlace& place) {
  place.expect_array();
  if (place.value.size() > kMaxVocabSize) {
    fail(ErrorKind::kData, place.file, ": ", place.value.size(), " added tokens; up to ",
         kMaxVocabSize, " can be read");
  }
  std::vector<AddedToken> added;
  std::unordered_set<std::string> contents;
  for (std::size_t i = 0; i < place.value.size(); ++i) {
    added.push_back(read_added(place[i]));
    if (!contents.insert(added.back().content).second) {
      place[i].refuse("another added token has this content");
    }
  }
  std::ranges::sort(added, {}, &AddedToken::id);
  return added;
}

// Makes tables.tokens of the vocabulary and the added tokens, which may stand in it or behind it.
class VocabReader {
 public:
  VocabReader(const json& vocab, const std::string& name, TokenizerTables& tables)
      : vocab_(vocab), name_(name), tables_(tables) {
    for (const AddedToken& token : tables.added) added_.emplace(token.content, token.id);
  }

  void read() {
    std::size_t count = vocab_.size();
    for (const auto& [content, id] : added_) count += vocab_.contains(std::string(content)) ? 0 : 1;
    if (count > kMaxVocabSize) {
      fail(ErrorKind::kData, name_, ": a vocabulary of ", count, " tokens; up to ", kMaxVocabSize,
           " can be read");
    }
    tables_.tokens.resize(count);
    for (const auto& [spelled, id] : vocab_.items()) read_token(spelled, id);
    for (const auto& [content, id] : added_) {
      if (!vocab_.contains(std::string(content))) put(id, std::string(content));
    }
    check_bytes();
  }

 private:
  void read_token(const std::string& spelled, const json& id) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= tables_.tokens.size()) {
      fail(ErrorKind::kData, name_, ": token id ", shown(id), " is not one of 0 to ",
           tables_.tokens.size() - 1);
    }
    const auto found = added_.find(spelled);
    if (found == added_.end()) {
      put(id.get<std::int64_t>(), spelling_.read(spelled, name_));
      return;
    }
    if (id != found->second) {
      fail(ErrorKind::kData, name_, ": ", shown(spelled), " has id ", found->second,
           " in added_tokens and ", id.dump(), " in the vocabulary");
    }
    put(found->second, spelled);
  }

  void put(std::int64_t id, std::string bytes) {
    if (std::cmp_greater_equal(id, tables_.tokens.size())) {
      fail(ErrorKind::kData, name_, ": token id ", id, " is not one of 0 to ",
           tables_.tokens.size() - 1);
    }
    std::string& token = tables_.tokens[static_cast<std::size_t>(id)];
    if (!token.empty()) fail(ErrorKind::kData, name_, ": two tokens have the id ", id);
    token = std::move(bytes);
    check_length(token, id, name_);
  }

  // Rare bytes may have no token, but without those of ASCII's text this is something else.
  void check_bytes() const {
    std::array<bool, 256> there{};
    for (const auto& [spelled, id] : vocab_.items()) {
      const std::string& token = tables_.tokens[id.get<std::size_t>()];
      if (token.size() == 1 && !added_.contains(spelled)) {
        there[static_cast<std::uint8_t>(token[0])] = true;
      }
    }
    const auto missing = std::find(there.begin() + 0x20, there.begin() + 0x7F, false);
    if (missing == there.begin() + 0x7F) return;
    fail(ErrorKind::kData, name_, ": no token for byte ", missing - there.begin(),
         ": not a byte-level vocabulary");
  }

  const json& vocab_;
  const std::string& name_;
  TokenizerTables& tables_;
  Spelling spelling_;
  std::unordered_map<std::string_view, std::int32_t> added_;  // id by content
};

// "left right", or the array form [left, right] of newer versions.
std::pair<std::string, std::string> split_merge(const json& merge, const std::string& name) {
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos) return {text.substr(0, space), text.substr(space + 1)};
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
             merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  fail(ErrorKind::kData, name, ": merge ", shown(merge), " is not a pair of tokens");
}

void read_merges(const json& merges, const json& vocab, const std::string& name,
                 TokenizerTables& tables) {
  if (merges.size() > kMaxVocabSize) {
    fail(ErrorKind::kData, name, ": ", merges.size(), " merges; up to ", kMaxVocabSize,
         " can be read");
  }
  std::unordered_set<std::uint64_t> seen;
  std::unordered_set<std::string_view> added;
  for (const AddedToken& token : tables.added) added.insert(token.content);
  for (const json& merge : merges) {
    const auto [left, right] = split_merge(merge, name);
    for (const std::string& part : {left, right}) {
      if (!vocab.contains(part) || added.contains(part)) {
        fail(ErrorKind::kData, name, ": merge ", shown(merge),
             " is of a token that is not in the vocabulary");
      }
    }
    const TokenPair pair{vocab[left].get<std::int32_t>(), vocab[right].get<std::int32_t>()};
    if (!seen.insert((std::uint64_t(pair.first) << 32) | std::uint64_t(pair.second)).second) {
      fail(ErrorKind::kData, name, ": merge ", shown(merge), " stands there twice");
    }
    tables.merges.push_back(pair);
  }
}

std::int32_t end_of_text(const std::vector<AddedToken>& added) {
  for (const std::string_view name : kEndNames) {
    const auto found = std::ranges::find(added, name, &AddedToken::content);
    if (found != added.end()) return found->id;
  }
  return -1;
}

json parse(std::string_view text, const std::string& name) {
  if (text.size() > kMaxTokenizerBytes) {
    fail(ErrorKind::kData, name, ": ", text.size(), " bytes; up to ", kMaxTokenizerBytes,
         " can be read");
  }
  constexpr int kMaxDepth = 16;
  const auto shallow = [&](int depth, json::parse_event_t, const json&) {
    if (depth > kMaxDepth) {
      fail(ErrorKind::kData, name, ": nested too deeply for a tokenizer.json");
    }
    return true;
  };
  return json::parse(text, shallow, false);
}

}  // namespace

TokenizerTables read_tokenizer_json(std::string_view text, const std::string& name) {
  json file = parse(text, name);
  const auto part = [&](const char* pointer, json::value_t type) {
    const json::json_pointer at(pointer);
    if (!file.is_object() || !file.contains(at) || file[at].type() != type) {
      fail(ErrorKind::kData, name, ": no ", pointer, " found", kNotOurs);
    }
    return std::exchange(file[at], nullptr);
  };
  const json vocab = part("/model/vocab", json::value_t::object);
  const json merges = part("/model/merges", json::value_t::array);
  const json added = part("/added_tokens", json::value_t::array);

  TokenizerTables tables;
  tables.added = read_added_tokens({added, "/added_tokens", name});
  read_tokenizer_settings({file, "", name}, tables);
  for (const AddedToken& token : tables.added) {
    if (tables.nfc && token.normalized && !to_nfc(token.content).empty()) {
      fail(ErrorKind::kData, name, ": the added token ", token.id,
           " is looked for in normalised text, but is not in form NFC itself");
    }
  }
  VocabReader(vocab, name, tables).read();
  read_merges(merges, vocab, name, tables);
  tables.end_of_text = end_of_text(tables.added);
  return tables;
}

std::vector<std::int32_t> merged_tokens(const TokenizerTables& tables, const std::string& name) {
  std::unordered_map<std::string_view, std::int32_t> ids;
  auto added = tables.added.begin();
  for (std::size_t i = 0; i < tables.tokens.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (added != tables.added.end() && added->id == id) {
      ++added;
    } else {
      // Spellings and bytes correspond, and no spelling stands in the vocabulary twice.
      FRUGAL_CHECK(ids.emplace(tables.tokens[i], id).second);
    }
  }
  std::vector<std::int32_t> tokens;
  for (const auto& [left, right] : tables.merges) {
    const auto found = ids.find(tables.tokens[left] + tables.tokens[right]);
    if (found == ids.end()) {
      fail(ErrorKind::kData, name, ": tokens ", left, " and ", right,
           " merge into one that is not in the vocabulary");
    }
    tokens.push_back(found->second);
  }
  return tokens;
}

}  // namespace frugal
