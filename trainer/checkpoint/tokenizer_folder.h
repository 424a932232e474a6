// The files of a run's tokenizer, as others want them beside a model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "trainer/checkpoint/gguf_file.h"

namespace frugal {

inline constexpr std::int64_t kMaxTokenizerBytes = 256 << 20;

class TokenizerFolder {
 public:
  // Name and content of each file.
  using Files = std::vector<std::pair<std::string, std::string>>;

  // A folder with tokenizer.json; or, where there are some, these files in place of the folder's.
  // Throws Error(kData) where it is none.
  explicit TokenizerFolder(std::string path, Files given = {});

  // Ids of what texts begin and end with; null where nothing says. Of the end a list where there
  // are several. Each from the first that says it: generation_config.json, config.json, the name in
  // tokenizer_config.json; else the one of <|endoftext|>. The data's reader of a folder
  // (data/tokenizer_config.h) looks at the same files in this order.
  const nlohmann::json& bos() const { return bos_; }
  const nlohmann::json& eos() const { return eos_; }

  // What to put beside a model in Hugging Face's format: the files that are there, and a
  // tokenizer_config.json in any case.
  Files files(int max_position_embeddings) const;

  // The keys tokenizer.ggml.*, for a model with so many rows of the vocabulary: rows beyond the
  // tokens are unused ones. Throws Error(kData) where the tokenizer is no byte-level BPE or splits
  // texts in a way that has no name in GGUF, or its ids do not fit.
  GgufMetadata gguf(std::int64_t vocab_size) const;

 private:
  std::optional<std::string> read(const std::string& name) const;
  void find_ids();
  nlohmann::json id_of(const nlohmann::json& token) const;
  bool adds_bos() const;
  std::string pre_tokenizer() const;

  std::string path_, text_;
  Files given_;
  nlohmann::json tokenizer_, settings_;  // tokenizer.json, tokenizer_config.json or {}
  nlohmann::json bos_, eos_;
};

}  // namespace frugal
