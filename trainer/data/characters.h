// Characters of a text that may be any bytes, and their class in Unicode 16.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace frugal {

// Every character has one; as bits, so that sets are sums.
enum CharClass : std::uint8_t {
  kOther = 1,
  kLetter = 2,        // \p{L}
  kMark = 4,          // \p{M}
  kNumber = 8,        // \p{N}
  kPunctuation = 16,  // \p{P}
  kSymbol = 32,       // \p{S}
  kSpace = 64,        // \s, the property White_Space
};

struct Char {
  char32_t code;
  std::uint8_t char_class;
  std::uint8_t bytes;  // that it takes in the text
};

// A byte that is no part of well-formed UTF-8 is a character by itself, of the class of U+FFFD.
inline constexpr char32_t kReplacement = 0xFFFD;
inline bool is_malformed(const Char& c) {
  return c.code == kReplacement && c.bytes == 1;
}

Char wide_char_at(std::string_view text, std::size_t at);  // text[at] is not ASCII

constexpr std::array<std::uint8_t, 128> ascii_classes() {
  std::array<std::uint8_t, 128> classes{};
  for (int c = 0; c < 128; ++c) classes[c] = c > 0x20 && c < 0x7F ? kPunctuation : kOther;
  for (int c = 'a'; c <= 'z'; ++c) classes[c] = classes[c - 'a' + 'A'] = kLetter;
  for (int c = '0'; c <= '9'; ++c) classes[c] = kNumber;
  for (const char c : {' ', '\t', '\n', '\v', '\f', '\r'}) classes[c] = kSpace;
  for (const char c : {'$', '+', '<', '=', '>', '^', '`', '|', '~'}) classes[c] = kSymbol;
  return classes;
}
inline constexpr auto kAsciiClasses = ascii_classes();

// REQUIRES: at < text.size().
inline Char char_at(std::string_view text, std::size_t at) {
  const auto byte = static_cast<std::uint8_t>(text[at]);
  return byte < 0x80 ? Char{byte, kAsciiClasses[byte], 1} : wide_char_at(text, at);
}

void append_utf8(std::string& out, char32_t code);

}  // namespace frugal
