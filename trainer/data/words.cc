#include "trainer/data/words.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/core/check.h"

namespace frugal {
namespace {

constexpr std::uint8_t kNoWord = kOther | kMark | kPunctuation | kSymbol;  // [^\s\p{L}\p{N}]
constexpr std::uint8_t kWord = kLetter | kMark;
constexpr std::uint8_t kSign = kPunctuation | kSymbol;

bool is_line_end(char c) {
  return c == '\r' || c == '\n';
}

// The end of the run of characters of these classes that starts at `at`; at most `limit` of them.
std::size_t run_end(std::string_view text, std::size_t at, std::uint8_t classes,
                    int limit = INT32_MAX) {
  for (; at < text.size() && limit > 0; --limit) {
    const Char next = char_at(text, at);
    if ((next.char_class & classes) == 0) break;
    at += next.bytes;
  }
  return at;
}

bool is_at(std::string_view text, std::size_t at, std::uint8_t classes) {
  return at < text.size() && (char_at(text, at).char_class & classes) != 0;
}

// 's|'t|'re|'ve|'m|'ll|'d
std::size_t contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const char c = text[1];
  if (c == 's' || c == 't' || c == 'm' || c == 'd') return 2;
  const std::string_view pair = text.substr(1, 2);
  return pair == "re" || pair == "ve" || pair == "ll" ? 3 : 0;
}

// The same with (?i:...): case folds as in Unicode, so the long s counts.
std::size_t any_case_contraction(std::string_view text) {
  if (text[0] != '\'') return 0;
  if (text.substr(1, 2) == "\u017f") return 3;
  char lower[3] = {'\'', 0, 0};
  const std::size_t size = std::min<std::size_t>(text.size(), 3);
  for (std::size_t i = 1; i < size; ++i) {
    const bool upper = text[i] >= 'A' && text[i] <= 'Z';
    lower[i] = static_cast<char>(text[i] + (upper ? 'a' - 'A' : 0));
  }
  return contraction({lower, size});
}

// \s+(?!\S)|\s+ : white space, all of it at the end of the text, else all but its last character,
// unless that is all there is. 0 if there is none.
std::size_t space(std::string_view text) {
  std::size_t end = 0;
  std::size_t last = 0;
  while (end < text.size()) {
    const Char next = char_at(text, end);
    if (next.char_class != kSpace) return last > 0 ? last : end;
    last = end;
    end += next.bytes;
  }
  return end;
}

// \s*[\r\n]+|\s+(?!\S)|\s+ : up to the last line end of the white space, if there is one.
std::size_t lines_or_space(std::string_view text) {
  const std::size_t end = run_end(text, 0, kSpace);
  const std::size_t line = text.substr(0, end).find_last_of("\r\n");
  return line != std::string_view::npos ? line + 1 : space(text);
}

// ` ?[classes]+[\r\n]*`
std::size_t signs(std::string_view text, std::uint8_t classes) {
  const std::size_t start = text[0] == ' ' ? 1 : 0;
  std::size_t end = run_end(text, start, classes);
  if (end == start) return 0;
  while (end < text.size() && is_line_end(text[end])) ++end;
  return end;
}

std::size_t gpt2(std::string_view text) {
  if (const std::size_t length = contraction(text)) return length;
  const std::size_t start = text[0] == ' ' ? 1 : 0;
  if (start < text.size()) {
    const Char first = char_at(text, start);
    if (first.char_class != kSpace) {
      const bool plain = first.char_class == kLetter || first.char_class == kNumber;
      return run_end(text, start + first.bytes, plain ? first.char_class : kNoWord);
    }
  }
  return space(text);
}

template <int kDigitsAtOnce>
std::size_t llama3(std::string_view text) {
  if (const std::size_t length = any_case_contraction(text)) return length;
  const Char first = char_at(text, 0);
  if (first.char_class == kLetter) return run_end(text, first.bytes, kLetter);
  if (first.char_class == kNumber) return run_end(text, 0, kNumber, kDigitsAtOnce);
  if (!is_line_end(text[0]) && is_at(text, first.bytes, kLetter)) {
    return run_end(text, first.bytes, kLetter);
  }
  if (const std::size_t length = signs(text, kNoWord)) return length;
  return lines_or_space(text);
}

std::size_t deepseek_words(std::string_view text) {
  const auto is_ascii_letter = [&](std::size_t at) {
    return at < text.size() && static_cast<std::uint8_t>(text[at]) < 0x80 &&
           is_at(text, at, kLetter);
  };
  const Char first = char_at(text, 0);
  if (first.code < 0x80 && (first.char_class & kSign) != 0 && is_ascii_letter(1)) {
    std::size_t end = 1;
    while (is_ascii_letter(end)) ++end;
    return end;
  }
  const bool may_lead = (first.char_class & (kLetter | kSign)) == 0 && !is_line_end(text[0]);
  if (may_lead && is_at(text, first.bytes, kWord)) return run_end(text, first.bytes, kWord);
  if ((first.char_class & kWord) != 0) return run_end(text, 0, kWord);
  if (const std::size_t length = signs(text, kSign)) return length;
  return lines_or_space(text);
}

std::size_t three_digits(std::string_view text) {
  return run_end(text, 0, kNumber, 3);
}

std::size_t line_end(std::string_view text) {
  return is_line_end(text[0]) ? 1 : 0;
}

// \s?[classes]+
template <std::uint8_t kClasses>
std::size_t after_space(std::string_view text) {
  const Char first = char_at(text, 0);
  const std::size_t start = first.char_class == kSpace ? first.bytes : 0;
  const std::size_t end = run_end(text, start, kClasses);
  return end > start ? end : 0;
}

using CodeRange = std::pair<char32_t, char32_t>;

std::size_t run_of(std::string_view text, std::span<const CodeRange> ranges) {
  std::size_t end = 0;
  while (end < text.size()) {
    const Char next = char_at(text, end);
    const auto holds = [&](const CodeRange& r) {
      return r.first <= next.code && next.code <= r.second;
    };
    if (is_malformed(next) || std::ranges::none_of(ranges, holds)) break;
    end += next.bytes;
  }
  return end;
}

std::size_t deepseek_cjk(std::string_view text) {
  constexpr CodeRange kRanges[] = {{0x4E00, 0x9FA5}, {0x3040, 0x30FF}};
  return run_of(text, kRanges);
}

std::size_t coder_cjk(std::string_view text) {
  constexpr CodeRange kRanges[] = {{0x0800, 0x9FA5}, {0xAC00, 0xD7FF}};
  return run_of(text, kRanges);
}

// Digits does not go by the regular expressions' Unicode 16, but by Unicode 17.
bool is_digit(const Char& c) {
  return c.char_class == kNumber || (c.code >= 0x11DE0 && c.code <= 0x11DE9) ||
         (c.code >= 0x16FF4 && c.code <= 0x16FF6);
}

std::size_t digit(std::string_view text) {
  const Char first = char_at(text, 0);
  return is_digit(first) ? first.bytes : 0;
}

struct KnownPattern {
  std::string_view regex;
  MatchFunction match;
};

// In the order of SplitPattern.
constexpr KnownPattern kPatterns[] = {
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", gpt2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
     R"(\s*[\r\n]+|\s+(?!\S)|\s+)",
     llama3<3>},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
     R"(\s*[\r\n]+|\s+(?!\S)|\s+)",
     llama3<1>},
    {R"(\p{N}{1,3})", three_digits},
    {"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", deepseek_cjk},
    {R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^)"
     "\r\n"
     R"(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[)"
     "\r\n"
     R"(]*|\s*[)"
     "\r\n"
     R"(]+|\s+(?!\S)|\s+)",
     deepseek_words},
    {"[\r\n]", line_end},
    {R"(\s?\p{L}+)", after_space<kLetter>},
    {R"(\s?\p{P}+)", after_space<kPunctuation>},
    {"[\u4e00-\u9fa5\u0800-\u4e00\uAC00-\uD7FF]+", coder_cjk},
    {"", digit},
};

const KnownPattern& known(SplitPattern pattern) {
  return kPatterns[static_cast<std::size_t>(pattern)];
}

// The class of the character that ends right before `at`.
std::uint8_t class_before(std::string_view text, std::size_t at) {
  if (at == 0) return kOther;
  std::size_t start = at - 1;
  while (start > 0 && at - start < 4 && (text[start] & 0xC0) == 0x80) --start;
  const Char last = char_at(text, start);
  return start + last.bytes == at ? last.char_class : std::uint8_t{kOther};
}

}  // namespace

std::string_view regex_of(SplitPattern pattern) {
  return known(pattern).regex;
}

std::optional<SplitPattern> pattern_of(std::string_view regex) {
  for (std::size_t i = 0; i < std::size(kPatterns); ++i) {
    if (!regex.empty() && kPatterns[i].regex == regex) return static_cast<SplitPattern>(i);
  }
  return std::nullopt;
}

MatchFunction match_of(SplitPattern pattern) {
  return known(pattern).match;
}

std::size_t safe_cut(std::string_view text, std::size_t from) {
  for (std::size_t at = std::max<std::size_t>(from, 1); at < text.size(); ++at) {
    const auto byte = static_cast<std::uint8_t>(text[at]);
    if (byte < 0x80 && kAsciiClasses[byte] == kSpace) {
      if (class_before(text, at) == kLetter) return at;
    } else if (text[at - 1] == '\n') {
      if (class_before(text, at - 1) != kSpace && is_at(text, at, kLetter)) return at;
    }
  }
  return text.size();
}

}  // namespace frugal
