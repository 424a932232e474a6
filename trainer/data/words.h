// Text into words, as the known tokenizers do it: each of their regular expressions, from a closed
// list, is matched by code written for it. Merges never cross words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "trainer/data/characters.h"

namespace frugal {

inline constexpr std::string_view kEndOfText = "<|endoftext|>";

// A step of a pre-tokenizer: each match is a piece by itself, and so is what lies between matches.
enum class SplitPattern : std::uint8_t {
  kGpt2,         // Radford et al. 2019; also what ByteLevel with use_regex does
  kLlama3,       // numbers of up to three digits
  kQwen2,        // the same with single digits
  kThreeDigits,  // DeepSeek-V3: three steps
  kDeepSeekCjk,
  kDeepSeekWords,
  kCoderNewline,  // DeepSeek-Coder: four steps, then kDigit
  kCoderLetters,
  kCoderPunctuation,
  kCoderCjk,
  kDigit,  // the pre-tokenizer Digits, digits one by one
};

// The pattern as a regular expression of tokenizer.json; empty for kDigit.
std::string_view regex_of(SplitPattern pattern);
std::optional<SplitPattern> pattern_of(std::string_view regex);  // the whole of it, or none

// Length of the match at the front of text, which is not empty; 0 if there is none. Depends on the
// text from there on, not on what is before.
using MatchFunction = std::size_t (*)(std::string_view text);
MatchFunction match_of(SplitPattern pattern);

// The word of kGpt2 at the front of text, which is not empty: that pattern matches everywhere.
inline std::size_t first_word(std::string_view text) {
  return match_of(SplitPattern::kGpt2)(text);
}

// Calls emit(std::string_view) for each word of text, in order: what the steps, one after the
// other, make of it. No step: all of the text is one word.
template <class Emit>
void for_each_word(std::span<const SplitPattern> steps, std::string_view text, const Emit& emit) {
  if (steps.empty()) {
    if (!text.empty()) emit(text);
    return;
  }
  const MatchFunction match = match_of(steps[0]);
  const auto rest = steps.subspan(1);
  std::size_t between = 0;  // bytes in front of text that no match has taken
  while (between < text.size()) {
    const std::size_t length = match(text.substr(between));
    if (length == 0) {
      between += char_at(text, between).bytes;
      continue;
    }
    if (between > 0) for_each_word(rest, text.substr(0, between), emit);
    for_each_word(rest, text.substr(between, length), emit);
    text.remove_prefix(between + length);
    between = 0;
  }
  for_each_word(rest, text, emit);
}

// The first place p >= from where text can be cut so that the words of both parts are the words of
// the whole, for the steps of every known tokenizer: between a letter and ASCII white space, or
// between a line end that is all the white space there is and a letter. (White space after a sign
// may belong to the sign's word.) Prefers nothing but nearness; text.size() if there is none.
std::size_t safe_cut(std::string_view text, std::size_t from);

}  // namespace frugal
