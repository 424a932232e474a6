#include "trainer/data/characters.h"

#include <algorithm>
#include <vector>

namespace frugal {
namespace {

constexpr char32_t kCodePoints = 0x110000;

// One byte for each code point: text of a script touches few of its cache lines.
std::vector<std::uint8_t> make_classes() {
  struct Range {
    char32_t first, last;
    CharClass char_class;
  };
  constexpr Range kRanges[] = {
#include "trainer/data/unicode_classes.inc"
  };
  std::vector<std::uint8_t> classes(kCodePoints, kOther);
  for (const Range& range : kRanges) {
    std::fill(classes.begin() + range.first, classes.begin() + range.last + 1, range.char_class);
  }
  return classes;
}

}  // namespace

Char wide_char_at(std::string_view text, std::size_t at) {
  static const std::vector<std::uint8_t> classes = make_classes();
  constexpr Char kMalformed{kReplacement, kSymbol, 1};
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
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if ((bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000) || surrogate ||
      code >= kCodePoints) {
    return kMalformed;
  }
  return {code, classes[code], static_cast<std::uint8_t>(bytes)};
}

void append_utf8(std::string& out, char32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // bytes after the first
  constexpr std::uint8_t kLead[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[more] | (code >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
}

}  // namespace frugal
