// What a byte-level BPE tokenizer consists of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "trainer/data/words.h"

namespace frugal {

using TokenPair = std::pair<std::int32_t, std::int32_t>;

// A token that is found in the text by its content, before words are made.
struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool special = true;      // stands for no text; encode_as_text does not find it
  bool normalized = false;  // looked for in the normalised text, not in the text as it is
  bool operator==(const AddedToken&) const = default;
};

struct TokenizerTables {
  std::vector<std::string> tokens;  // the bytes of each id; of an added token its content
  std::vector<TokenPair> merges;    // the earlier, the stronger
  std::vector<AddedToken> added;    // rising ids
  std::vector<SplitPattern> steps = {SplitPattern::kGpt2};
  bool nfc = false;                           // normalise to Unicode's form C first
  bool ignore_merges = false;                 // a word that is a token is that token
  std::optional<std::int32_t> begin_of_text;  // what the post-processor puts in front
  std::int32_t end_of_text = 0;
  bool operator==(const TokenizerTables&) const = default;
};

}  // namespace frugal
