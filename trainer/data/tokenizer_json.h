// tokenizer.json, the file of Hugging Face's `tokenizers` library.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/tokenizer_tables.h"

namespace frugal {

inline constexpr std::size_t kMaxTokenizerBytes = std::size_t{256} << 20;
inline constexpr std::size_t kMaxVocabSize = std::size_t{1} << 22;
inline constexpr std::size_t kMaxTokenBytes = 1024;

// The file of these tables; reading it gives them back.
std::string write_tokenizer_json(const TokenizerTables& tables);

// Reads byte-level BPE of the known families: README.md lists what is read. Everything else that
// could change the ids is refused by name. `name` stands in messages. end_of_text is the added
// token with the first of the names that tokenizers give it, or -1. Throws Error(kData).
TokenizerTables read_tokenizer_json(std::string_view json, const std::string& name);

// What each merge becomes. Throws Error(kData) if that is not in the vocabulary.
std::vector<std::int32_t> merged_tokens(const TokenizerTables& tables, const std::string& name);

// A tokenizer in the form in which GGUF files hold it.
struct SpelledTokenizer {
  enum class Kind : std::uint8_t {
    kNormal,
    kSpecial,  // found in the text by its name, stands for no text ("control" in GGUF)
    kUser,     // found in the text by its name ("user defined")
  };
  std::string pre;  // "tokenizer.ggml.pre": gpt-2, smollm, llama-bpe, qwen2, deepseek-v3, ...
  std::vector<std::string> tokens;  // by id, bytes spelled as in a tokenizer.json
  std::vector<Kind> kinds;          // of each token
  std::vector<std::string> merges;  // "left right", spelled too; the earlier, the stronger
  std::optional<std::int32_t> begin_of_text;  // put in front of texts
};

// The tokenizer.json of it. Throws Error(kData) for a pre-tokenizer that is not known and wherever
// read_tokenizer_json would; `name` is the file that it comes from.
std::string tokenizer_json_of(const SpelledTokenizer& tokenizer, const std::string& name);

}  // namespace frugal
