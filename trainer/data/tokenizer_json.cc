#include "trainer/data/tokenizer_json.h"

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "trainer/data/words.h"

namespace frugal {
namespace {

using nlohmann::json;

// The file in four pieces: the id of <|endoftext|>, the vocabulary and the merges go between.
constexpr std::string_view kBeforeId = R"({
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [
    {"id": )";
constexpr std::string_view kBeforeVocab =
    R"(, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
  ],
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "post_processor": null,
  "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": false,
    "vocab": {)";
constexpr std::string_view kBeforeMerges = R"(},
    "merges": [)";
constexpr std::string_view kAfterMerges = R"(]
  }
}
)";

void append_utf8(std::string& out, char32_t code) {  // below 0x800
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// Between the bytes of a token and the characters that stand for them in the file.
class Spelling {
 public:
  Spelling() {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      append_utf8(of_byte_[byte], characters_[byte]);
      bytes_.emplace(of_byte_[byte], static_cast<char>(byte));
    }
  }
  std::string spell(const std::string& bytes) const {
    std::string out;
    for (const char byte : bytes) out += of_byte_[static_cast<std::uint8_t>(byte)];
    return out;
  }
  std::string read(const std::string& spelled, const std::string& name) const {
    std::string out;
    for (std::size_t at = 0; at < spelled.size();) {
      const std::size_t length = static_cast<std::uint8_t>(spelled[at]) < 0x80 ? 1 : 2;
      const auto found = bytes_.find(spelled.substr(at, length));
      if (found == bytes_.end()) {
        fail(ErrorKind::kData, name, ": token ", json(spelled).dump(-1, ' ', true),
             " has a character that stands for no byte: not a byte-level vocabulary");
      }
      out += found->second;
      at += length;
    }
    return out;
  }

 private:
  std::array<char32_t, 256> characters_ = byte_characters();
  std::array<std::string, 256> of_byte_;
  std::unordered_map<std::string, char> bytes_;
};

std::string quoted(const std::string& text) {
  return json(text).dump();
}

// Refuses every setting that differs from what we write; vocabulary and merges are taken out
// before.
void check_settings(const json& actual, const std::string& name) {
  const json expected =
      json::parse(concat(kBeforeId, 0, kBeforeVocab, kBeforeMerges, kAfterMerges)).flatten();
  const json flat = actual.flatten();
  constexpr std::string_view kHelp =
      "; only byte-level BPE with the settings of 'frugal tokenizer train' can be read";
  for (const auto& [key, value] : flat.items()) {
    if (!expected.contains(key)) {
      fail(ErrorKind::kData, name, ": unknown setting ", key, kHelp);
    }
    if (value != expected[key]) {
      fail(ErrorKind::kData, name, ": ", key, " is ", value.dump(-1, ' ', true), ", expected ",
           expected[key].dump(), kHelp);
    }
  }
  for (const auto& [key, value] : expected.items()) {
    if (!flat.contains(key)) fail(ErrorKind::kData, name, ": ", key, " is missing", kHelp);
  }
}

void read_vocab(const json& vocab, const std::string& name, BpeTables& tables) {
  if (vocab.size() <= 256 || vocab.size() > kMaxVocabSize) {
    fail(ErrorKind::kData, name, ": a vocabulary of ", vocab.size(), " tokens; from 257 to ",
         kMaxVocabSize, " can be read");
  }
  const Spelling spelling;
  tables.tokens.resize(vocab.size());
  for (const auto& [spelled, id] : vocab.items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= vocab.size()) {
      fail(ErrorKind::kData, name, ": token id ", id.dump(-1, ' ', true), " is not one of 0 to ",
           vocab.size() - 1);
    }
    std::string& token = tables.tokens[id.get<std::size_t>()];
    if (!token.empty()) fail(ErrorKind::kData, name, ": two tokens have the id ", id.dump());
    token = spelled == kEndOfText ? spelled : spelling.read(spelled, name);
    if (token.empty() || token.size() > kMaxTokenBytes) {
      fail(ErrorKind::kData, name, ": token ", id.dump(), " has ", token.size(),
           " bytes; from 1 to ", kMaxTokenBytes, " can be read");
    }
  }
  std::unordered_set<std::string_view> known(tables.tokens.begin(), tables.tokens.end());
  for (int byte = 0; byte < 256; ++byte) {
    if (!known.contains(std::string(1, static_cast<char>(byte)))) {
      fail(ErrorKind::kData, name, ": no token for byte ", byte, ": not a byte-level vocabulary");
    }
  }
}

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
  fail(ErrorKind::kData, name, ": merge ", merge.dump(-1, ' ', true), " is not a pair of tokens");
}

void read_merges(const json& merges, const json& vocab, const std::string& name,
                 BpeTables& tables) {
  if (merges.size() > kMaxVocabSize) {
    fail(ErrorKind::kData, name, ": ", merges.size(), " merges; up to ", kMaxVocabSize,
         " can be read");
  }
  std::unordered_set<std::uint64_t> seen;
  for (const json& merge : merges) {
    const auto [left, right] = split_merge(merge, name);
    for (const std::string& part : {left, right}) {
      if (!vocab.contains(part) || part == kEndOfText) {
        fail(ErrorKind::kData, name, ": merge ", merge.dump(-1, ' ', true),
             " is of a token that is not in the vocabulary");
      }
    }
    const TokenPair pair{vocab[left].get<std::int32_t>(), vocab[right].get<std::int32_t>()};
    if (!seen.insert((std::uint64_t(pair.first) << 32) | std::uint64_t(pair.second)).second) {
      fail(ErrorKind::kData, name, ": merge ", merge.dump(-1, ' ', true), " stands there twice");
    }
    tables.merges.push_back(pair);
  }
}

}  // namespace

std::string write_tokenizer_json(const BpeTables& tables) {
  const Spelling spelling;
  std::string out = concat(kBeforeId, tables.end_of_text, kBeforeVocab);
  for (std::size_t id = 0; id < tables.tokens.size(); ++id) {
    const bool special = static_cast<std::int32_t>(id) == tables.end_of_text;
    const std::string spelled = special ? tables.tokens[id] : spelling.spell(tables.tokens[id]);
    out += concat(id == 0 ? "\n" : ",\n", "      ", quoted(spelled), ": ", id);
  }
  out += concat("\n    ", kBeforeMerges);
  const char* separator = "\n";
  for (const auto& [left, right] : tables.merges) {
    out += concat(
        separator, "      ",
        quoted(spelling.spell(tables.tokens[left]) + ' ' + spelling.spell(tables.tokens[right])));
    separator = ",\n";
  }
  return out + concat("\n    ", kAfterMerges);
}

BpeTables read_tokenizer_json(std::string_view text, const std::string& name) {
  if (text.size() > kMaxTokenizerBytes) {
    fail(ErrorKind::kData, name, ": ", text.size(), " bytes; up to ", kMaxTokenizerBytes,
         " can be read");
  }
  const auto shallow = [&](int depth, json::parse_event_t, const json&) {
    if (depth > 8) fail(ErrorKind::kData, name, ": nested too deeply for a tokenizer.json");
    return true;
  };
  json file = json::parse(text, shallow, false);
  const auto part = [&](const char* pointer, json::value_t type) {
    const json::json_pointer at(pointer);
    if (!file.is_object() || !file.contains(at) || file[at].type() != type) {
      fail(ErrorKind::kData, name, ": no ", pointer,
           " found: not a byte-level BPE tokenizer.json, or a damaged one");
    }
    return std::exchange(file[at], nullptr);
  };
  const json vocab = part("/model/vocab", json::value_t::object);
  const json merges = part("/model/merges", json::value_t::array);
  const json id = part("/added_tokens/0/id", json::value_t::number_unsigned);
  file["model"]["vocab"] = json::object();
  file["model"]["merges"] = json::array();
  file["added_tokens"][0]["id"] = 0;
  check_settings(file, name);

  BpeTables tables;
  read_vocab(vocab, name, tables);
  if (!vocab.contains(kEndOfText) || vocab[std::string(kEndOfText)] != id) {
    fail(ErrorKind::kData, name, ": ", kEndOfText, " has id ", id.dump(),
         " in added_tokens and another or none in the vocabulary");
  }
  tables.end_of_text = id.get<std::int32_t>();
  read_merges(merges, vocab, name, tables);
  return tables;
}

std::vector<std::int32_t> merged_tokens(const BpeTables& tables, const std::string& name) {
  std::unordered_map<std::string_view, std::int32_t> ids;
  for (std::size_t id = 0; id < tables.tokens.size(); ++id) {
    if (static_cast<std::int32_t>(id) == tables.end_of_text) continue;
    if (!ids.emplace(tables.tokens[id], static_cast<std::int32_t>(id)).second) {
      fail(ErrorKind::kData, name, ": tokens ", ids[tables.tokens[id]], " and ", id,
           " stand for the same bytes");
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
