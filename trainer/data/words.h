// GPT-2's split of text into words, by hand instead of by a regular expression:
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// (Radford et al. 2019). Merges never cross words. Bytes that are not UTF-8 count as other.
#pragma once

#include <cstddef>
#include <string_view>

namespace frugal {

inline constexpr std::string_view kEndOfText = "<|endoftext|>";

// Length of the word that starts at the front of text, which is not empty. A word depends on the
// text from its start on, not on what is before.
std::size_t first_word(std::string_view text);

// The first place p >= from where text can be cut so that the words of both parts are the words of
// the whole: right after a character that is not white space and right before ASCII white space.
// Every alternative of the pattern takes white space only at its start, so a word ends there.
// Prefers nothing but nearness; text.size() if there is none.
std::size_t safe_cut(std::string_view text, std::size_t from);

}  // namespace frugal
