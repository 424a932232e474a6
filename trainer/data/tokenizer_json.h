// tokenizer.json, the file of Hugging Face's `tokenizers` library.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "trainer/data/bpe.h"

namespace frugal {

inline constexpr std::size_t kMaxTokenizerBytes = std::size_t{256} << 20;
inline constexpr std::size_t kMaxVocabSize = std::size_t{1} << 22;
inline constexpr std::size_t kMaxTokenBytes = 1024;

std::string write_tokenizer_json(const BpeTables& tables);

// Reads what write_tokenizer_json writes, and nothing else: any other setting is refused by name.
// `name` stands in messages. Throws Error(kData).
BpeTables read_tokenizer_json(std::string_view json, const std::string& name);

// What each merge becomes. Throws Error(kData) if that is not in the vocabulary.
std::vector<std::int32_t> merged_tokens(const BpeTables& tables, const std::string& name);

}  // namespace frugal
