#include "trainer/data/words.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace frugal {
namespace {

enum class CharClass : std::uint8_t { kOther, kLetter, kNumber, kSpace };

struct ClassRange {
  char32_t first, last;
  CharClass char_class;
};

constexpr ClassRange kRanges[] = {
#include "trainer/data/unicode_classes.inc"
};

struct Char {
  CharClass char_class;
  std::uint8_t bytes;
};

constexpr std::array<CharClass, 128> ascii_classes() {
  std::array<CharClass, 128> classes{};
  for (int c = 'a'; c <= 'z'; ++c) classes[c] = classes[c - 'a' + 'A'] = CharClass::kLetter;
  for (int c = '0'; c <= '9'; ++c) classes[c] = CharClass::kNumber;
  for (const char c : {' ', '\t', '\n', '\v', '\f', '\r'}) classes[c] = CharClass::kSpace;
  return classes;
}
constexpr auto kAscii = ascii_classes();

// The character at text[at], which is not ASCII: its code point if the bytes are the shortest UTF-8
// of one, else one byte of class other.
Char wide_char(std::string_view text, std::size_t at) {
  constexpr Char kMalformed{CharClass::kOther, 1};
  const auto lead = static_cast<std::uint8_t>(text[at]);
  const int bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() - at < static_cast<std::size_t>(bytes)) {
    return kMalformed;
  }
  char32_t code = lead & (0x7F >> bytes);
  for (int i = 1; i < bytes; ++i) {
    const auto next = static_cast<std::uint8_t>(text[at + i]);
    if ((next & 0xC0) != 0x80) return kMalformed;
    code = (code << 6) | (next & 0x3F);
  }
  if ((bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000)) return kMalformed;
  const auto* range = std::upper_bound(
      std::begin(kRanges), std::end(kRanges), code,
      [](char32_t value, const ClassRange& candidate) { return value < candidate.first; });
  const bool inside = range != std::begin(kRanges) && code <= (--range)->last;
  return {inside ? range->char_class : CharClass::kOther, static_cast<std::uint8_t>(bytes)};
}

Char char_at(std::string_view text, std::size_t at) {
  const auto byte = static_cast<std::uint8_t>(text[at]);
  return byte < 0x80 ? Char{kAscii[byte], 1} : wide_char(text, at);
}

// Length of 's, 't, 're, 've, 'm, 'll or 'd at the front, or 0.
std::size_t contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const char c = text[1];
  if (c == 's' || c == 't' || c == 'm' || c == 'd') return 2;
  if (text.size() < 3) return 0;
  const std::string_view pair = text.substr(1, 2);
  return pair == "re" || pair == "ve" || pair == "ll" ? 3 : 0;
}

// The end of the run of one class that starts at `at`.
std::size_t run_end(std::string_view text, std::size_t at, CharClass char_class) {
  while (at < text.size()) {
    const auto byte = static_cast<std::uint8_t>(text[at]);
    if (byte < 0x80) {
      if (kAscii[byte] != char_class) break;
      ++at;
    } else {
      const Char next = wide_char(text, at);
      if (next.char_class != char_class) break;
      at += next.bytes;
    }
  }
  return at;
}

bool space_before(std::string_view text, std::size_t at) {
  std::size_t start = at - 1;
  while (start > 0 && at - start < 4 && (text[start] & 0xC0) == 0x80) --start;
  const Char last = char_at(text, start);
  return start + last.bytes == at && last.char_class == CharClass::kSpace;
}

}  // namespace

std::size_t first_word(std::string_view text) {
  if (const std::size_t length = contraction(text)) return length;
  const std::size_t start = text[0] == ' ' ? 1 : 0;
  if (start < text.size()) {
    const Char first = char_at(text, start);
    if (first.char_class != CharClass::kSpace) {
      return run_end(text, start + first.bytes, first.char_class);
    }
  }
  // White space: all of it at the end of the text, else all but its last character, unless that is
  // all there is.
  std::size_t end = 0;
  std::size_t last = 0;
  while (end < text.size()) {
    const Char next = char_at(text, end);
    if (next.char_class != CharClass::kSpace) return last > 0 ? last : end;
    last = end;
    end += next.bytes;
  }
  return end;
}

std::size_t safe_cut(std::string_view text, std::size_t from) {
  for (std::size_t at = std::max<std::size_t>(from, 1); at < text.size(); ++at) {
    const auto byte = static_cast<std::uint8_t>(text[at]);
    if (byte < 0x80 && kAscii[byte] == CharClass::kSpace && !space_before(text, at)) return at;
  }
  return text.size();
}

}  // namespace frugal
