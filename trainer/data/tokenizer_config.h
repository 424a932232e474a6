// What the other files of a model's folder say about special tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/data/tokenizer_tables.h"

namespace frugal {

struct FolderTokens {
  std::vector<std::int32_t> ends;             // each ends a text or a turn; rising, may be empty
  std::optional<std::int32_t> begin_of_text;  // only if texts begin with it (add_bos_token)
};

// Reads eos_token, bos_token and add_bos_token of tokenizer_config.json and eos_token_id of
// generation_config.json, or of config.json where that says none. Files that are not there say
// nothing. Throws Error(kData) for a damaged file and for a token that the tokenizer lacks.
FolderTokens read_folder_tokens(const std::string& dir, const TokenizerTables& tables);

}  // namespace frugal
