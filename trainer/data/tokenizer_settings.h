// The settings of a tokenizer.json: all that is neither vocabulary, merges nor added tokens.
#pragma once

#include <string>

#include "nlohmann/json.hpp"
#include "trainer/data/tokenizer_tables.h"

namespace frugal {

// One value of a file, and where it stands.
struct JsonPlace {
  const nlohmann::json& value;
  std::string where;  // "/model/type"
  const std::string& file;

  // Throws Error(kData): file, place, value, and what can be read there.
  [[noreturn]] void refuse(const std::string& readable) const;
  // The member; a null where it is missing. REQUIRES: an object.
  JsonPlace operator[](const std::string& key) const;
  JsonPlace operator[](std::size_t index) const;  // REQUIRES: an array that has it
  // Refuses what is no object, or has other members than these.
  void expect_object(std::initializer_list<const char*> members) const;
  void expect_array() const;
  bool boolean_or(bool missing) const;  // refuses what is neither a boolean nor null
};

// Tokenizers that split and normalise text in the same way.
struct TokenizerFamily {
  std::string_view pre;  // "tokenizer.ggml.pre" of GGUF files
  std::vector<SplitPattern> steps;
  bool nfc = false;
  bool ignore_merges = false;
};
const std::vector<TokenizerFamily>& tokenizer_families();

// Fills what the settings decide: steps, nfc, ignore_merges, begin_of_text. Anything else that
// could change the ids is refused by name. `root` is the file without vocabulary, merges and added
// tokens; tables.added must be there. Throws Error(kData).
void read_tokenizer_settings(const JsonPlace& root, TokenizerTables& tables);

// The blocks of a tokenizer.json with these settings, as JSON.
std::string normalizer_json(const TokenizerTables& tables);
std::string pre_tokenizer_json(const TokenizerTables& tables);
std::string post_processor_json(const TokenizerTables& tables);

}  // namespace frugal
