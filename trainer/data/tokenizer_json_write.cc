#include <algorithm>
#include <unordered_map>

#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "trainer/data/spelling.h"
#include "trainer/data/tokenizer_json.h"
#include "trainer/data/tokenizer_settings.h"

namespace frugal {
namespace {

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump();
}

const char* word(bool value) {
  return value ? "true" : "false";
}

const TokenizerFamily& family_of(const std::string& pre, const std::string& name) {
  const auto found = std::ranges::find(tokenizer_families(), pre, &TokenizerFamily::pre);
  if (found != tokenizer_families().end()) return *found;
  std::string readable;
  for (const TokenizerFamily& family : tokenizer_families()) readable += concat(" ", family.pre);
  fail(ErrorKind::kData, name, ": the pre-tokenizer is ", json_string(pre),
       "; known ones:", readable);
}

void check_utf8(std::string_view text, std::int32_t id, const std::string& name) {
  for (std::size_t at = 0; at < text.size(); at += char_at(text, at).bytes) {
    if (is_malformed(char_at(text, at))) {
      fail(ErrorKind::kData, name, ": token ", id, " is not UTF-8 in byte ", at);
    }
  }
}

}  // namespace

std::string write_tokenizer_json(const TokenizerTables& tables) {
  std::string out =
      "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
      "  \"added_tokens\": [\n";
  for (const AddedToken& token : tables.added) {
    out += concat("    {\"id\": ", token.id, ", \"content\": ", json_string(token.content),
                  R"(, "single_word": false, "lstrip": false, "rstrip": false, "normalized": )",
                  word(token.normalized), ", \"special\": ", word(token.special), "}",
                  &token == &tables.added.back() ? "\n" : ",\n");
  }
  out += concat("  ],\n  \"normalizer\": ", normalizer_json(tables),
                ",\n  \"pre_tokenizer\": ", pre_tokenizer_json(tables),
                ",\n  \"post_processor\": ", post_processor_json(tables),
                ",\n  \"decoder\": ", R"({"type": "ByteLevel", "add_prefix_space": false, )",
                R"("trim_offsets": true, "use_regex": true})",
                R"(,
  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": )",
                word(tables.ignore_merges), ",\n    \"vocab\": {");
  const Spelling spelling;
  auto added = tables.added.begin();
  for (std::size_t id = 0; id < tables.tokens.size(); ++id) {
    const bool is_added = added != tables.added.end() && std::cmp_equal(added->id, id);
    if (is_added) ++added;
    const std::string spelled = is_added ? tables.tokens[id] : spelling.spell(tables.tokens[id]);
    out += concat(id == 0 ? "\n" : ",\n", "      ", json_string(spelled), ": ", id);
  }
  out += "\n    },\n    \"merges\": [";
  const char* separator = "\n";
  for (const auto& [left, right] : tables.merges) {
    out += concat(separator, "      ",
                  json_string(spelling.spell(tables.tokens[left]) + ' ' +
                              spelling.spell(tables.tokens[right])));
    separator = ",\n";
  }
  return out + "\n    ]\n  }\n}\n";
}

std::string tokenizer_json_of(const SpelledTokenizer& tokenizer, const std::string& name) {
  const TokenizerFamily& family = family_of(tokenizer.pre, name);
  TokenizerTables tables;
  tables.steps = family.steps;
  tables.nfc = family.nfc;
  tables.ignore_merges = family.ignore_merges;
  tables.begin_of_text = tokenizer.begin_of_text;
  FRUGAL_CHECK(tokenizer.kinds.size() == tokenizer.tokens.size());
  const Spelling spelling;
  std::unordered_map<std::string_view, std::int32_t> ids;
  for (std::size_t i = 0; i < tokenizer.tokens.size(); ++i) {
    const std::string& spelled = tokenizer.tokens[i];
    const auto id = static_cast<std::int32_t>(i);
    ids.emplace(spelled, id);
    if (tokenizer.kinds[i] == SpelledTokenizer::Kind::kNormal) {
      tables.tokens.push_back(spelling.read(spelled, name));
    } else {
      check_utf8(spelled, id, name);
      tables.tokens.push_back(spelled);
      tables.added.push_back({.id = id,
                              .content = spelled,
                              .special = tokenizer.kinds[i] == SpelledTokenizer::Kind::kSpecial});
    }
  }
  for (const std::string& merge : tokenizer.merges) {
    const std::size_t space = merge.find(' ');
    const auto left = ids.find(std::string_view(merge).substr(0, space));
    const auto right =
        ids.find(space == std::string::npos ? std::string_view()
                                            : std::string_view(merge).substr(space + 1));
    if (left == ids.end() || right == ids.end()) {
      fail(ErrorKind::kData, name, ": merge ", tables.merges.size(), " is not of two tokens");
    }
    tables.merges.emplace_back(left->second, right->second);
  }
  if (tables.begin_of_text && std::cmp_greater_equal(*tables.begin_of_text, tables.tokens.size())) {
    fail(ErrorKind::kData, name, ": the token before texts is ", *tables.begin_of_text,
         ", but there are only ", tables.tokens.size());
  }
  std::string text = write_tokenizer_json(tables);
  read_tokenizer_json(text, name);  // refuses what is wrong with it
  return text;
}

}  // namespace frugal
