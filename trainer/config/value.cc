#include "trainer/config/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "trainer/config/nearest.h"
#include "trainer/config/schema.h"

namespace frugal::config {
namespace {

constexpr std::size_t kLongestName = 200;  // bytes; file systems allow 255

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T out{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(out)) return std::nullopt;
  } else if (text.size() > 1 && text[text[0] == '-' ? 1 : 0] == '0') {
    return std::nullopt;  // 010 is octal for some readers
  }
  return out;
}

template <class T>
std::string number_text(T number) {
  std::array<char, 32> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
  return {buffer.data(), end};
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : static_cast<char>(c);
  });
  return out;
}

// Whole numbers without exponent.
std::string plain_number_text(double number) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  const bool whole = std::trunc(number) == number && std::abs(number) < kExact;
  return whole ? number_text(static_cast<std::int64_t>(number)) : number_text(number);
}

// Words that some YAML readers take for true and false.
bool is_boolean_word(std::string_view text) {
  static constexpr std::array<std::string_view, 6> kWords{"true", "false", "yes",
                                                          "no",   "on",    "off"};
  return std::ranges::find(kWords, lower_case(text)) != kWords.end();
}

// Has a point and a signed exponent, so that every YAML reader takes it for a number with a
// fraction.
std::string fraction_text(double number) {
  std::string out = number_text(number);
  if (out.find('.') != std::string::npos) return out;
  const auto exponent = out.find('e');
  return out.insert(exponent == std::string::npos ? out.size() : exponent, ".0");
}

bool fits(bool /*value*/, const Limits& /*limits*/) {
  return true;
}
template <class T>
requires std::is_arithmetic_v<T>
bool fits(T value, const Limits& limits) {
  const auto x = static_cast<double>(value);
  return (limits.above_min ? x > limits.min : x >= limits.min) &&
         (limits.below_max ? x < limits.max : x <= limits.max);
}
bool fits(const std::optional<int>& value, const Limits& limits) {
  return !value || fits(*value, limits);
}
bool fits(const std::string& value, const Limits& limits) {
  if (limits.folder_name && (value.empty() || value == "." || value == ".." ||
                             value.size() > kLongestName || value.find('/') != std::string::npos)) {
    return false;
  }
  return limits.choices.empty() || std::ranges::find(limits.choices, value) != limits.choices.end();
}
bool fits(const DataSourceConfig& value, const Limits& /*limits*/) {
  return !value.path.empty();
}
template <class T>
bool fits(const std::vector<T>& value, const Limits& limits) {
  return std::ranges::all_of(value, [&](const T& item) { return fits(item, limits); });
}

// " from 1 to 4", " of at least 1", " above 0 and below 1"; empty without limits.
std::string range_text(const Limits& limits) {
  const bool low = std::isfinite(limits.min), high = std::isfinite(limits.max);
  const std::string min = low ? plain_number_text(limits.min) : "";
  const std::string max = high ? plain_number_text(limits.max) : "";
  if (low && high && !limits.above_min && !limits.below_max) return " from " + min + " to " + max;
  std::string out;
  if (low) out += (limits.above_min ? " above " : " of at least ") + min;
  if (low && high) out += " and";
  if (high) out += (limits.below_max ? " below " : " of at most ") + max;
  return out;
}

std::string choices_text(const Limits& limits) {
  std::string out;
  for (const auto choice : limits.choices) out += (out.empty() ? "" : ", ") + std::string(choice);
  return out;
}

std::string expected(const bool*, const Limits&) {
  return "true or false";
}
std::string expected(const int*, const Limits& limits) {
  return "a whole number" + range_text(limits);
}
std::string expected(const std::uint64_t*, const Limits& limits) {
  return "a whole number" + range_text(limits);
}
std::string expected(const double*, const Limits& limits) {
  return "a number" + range_text(limits);
}
std::string expected(const std::optional<int>*, const Limits& limits) {
  return "auto or a whole number" + range_text(limits);
}
std::string expected(const std::string*, const Limits& limits) {
  if (limits.folder_name) return "a name for a folder: no '/', not longer than 200 bytes";
  return limits.choices.empty() ? "a text" : "one of " + choices_text(limits);
}
std::string expected(const DataSourceConfig*, const Limits&) {
  return "a source like {path: data/kjv/train, weight: 1.0}";
}
std::string expected(const std::vector<int>*, const Limits& limits) {
  return "a list like [4, 4], each a whole number" + range_text(limits);
}
std::string expected(const std::vector<std::string>*, const Limits&) {
  return "a list of texts like [\"one\", \"two\"]";
}
std::string expected(const std::vector<DataSourceConfig>*, const Limits&) {
  return "a list of sources like [{path: data/kjv/train, weight: 1.0}]";
}

std::string found(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return "found nothing";
    case Node::Kind::kList:
      return "found a list";
    case Node::Kind::kMap:
      return "found a map";
    case Node::Kind::kScalar:
      break;
  }
  return (node.plain ? "found " : "found the quoted text ") + quoted(node.text);
}

// How the same number is written here, when the text is one in another spelling.
template <class T>
std::string number_hint(const Node& node, const Limits& limits) {
  if (node.kind != Node::Kind::kScalar) return "";
  const auto right = [&](const std::string& text) {
    const auto number = parse_number<T>(text);
    return number && fits(*number, limits);
  };
  if (right(node.text)) return "; remove the quotes";
  std::string digits = node.text;
  std::erase(digits, '_');
  if (digits.starts_with('+')) digits.erase(0, 1);
  const auto number = parse_number<double>(digits);
  if (!number) return "";
  const std::string text = plain_number_text(*number);
  return right(text) ? "; write " + text : "";
}

std::string bool_hint(const Node& node) {
  if (node.kind != Node::Kind::kScalar || !is_boolean_word(node.text)) return "";
  const std::string word = lower_case(node.text);
  if (!node.plain && (word == "true" || word == "false")) return "; remove the quotes";
  return word == "yes" || word == "on" || word == "true" ? "; write true" : "; write false";
}

bool read_scalar(const Node& node, bool& out) {
  if (node.kind != Node::Kind::kScalar || !node.plain) return false;
  out = node.text == "true";
  return out || node.text == "false";
}

template <class T>
requires std::is_arithmetic_v<T>
bool read_scalar(const Node& node, T& out) {
  if (node.kind != Node::Kind::kScalar || !node.plain) return false;
  const auto number = parse_number<T>(node.text);
  if (number) out = *number;
  return number.has_value();
}

bool read_scalar(const Node& node, std::optional<int>& out) {
  if (node.kind == Node::Kind::kScalar && node.plain && node.text == "auto") {
    out.reset();
    return true;
  }
  return read_scalar(node, out.emplace());
}

bool read_scalar(const Node& node, std::string& out) {
  if (node.kind != Node::Kind::kScalar || (node.plain && is_boolean_word(node.text))) return false;
  if (node.text.find('\0') != std::string::npos) return false;
  out = node.text;
  return true;
}

std::string hint(const Node& node, const bool*, const Limits&) {
  return bool_hint(node);
}
std::string hint(const Node& node, const std::string*, const Limits& limits) {
  if (node.kind != Node::Kind::kScalar) return "";
  if (!limits.choices.empty()) return unknown_choice_hint(node.text, limits.choices);
  return node.plain && is_boolean_word(node.text) ? "; put it in quotes if you mean the word" : "";
}
template <class T>
std::string hint(const Node& node, const T*, const Limits& limits) {
  return number_hint<T>(node, limits);
}
std::string hint(const Node& node, const std::optional<int>*, const Limits& limits) {
  return number_hint<int>(node, limits);
}

bool needs_quotes(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./";
  if (text.empty() || text.find_first_not_of(kPlain) != std::string_view::npos) return true;
  const char first = text.front();
  return first == '-' || (first == '.' && text.find('/') == std::string_view::npos) ||
         (first >= '0' && first <= '9' &&
          text.find_first_not_of("0123456789_.eExXoO-") == text.npos) ||
         is_boolean_word(text) || lower_case(text) == "null";
}

std::string to_text(bool value) {
  return value ? "true" : "false";
}
std::string to_text(int value) {
  return number_text(value);
}
std::string to_text(std::uint64_t value) {
  return number_text(value);
}
std::string to_text(double value) {
  return fraction_text(value);
}
std::string to_text(const std::optional<int>& value) {
  return value ? number_text(*value) : "auto";
}
std::string to_text(const std::string& value) {
  if (!needs_quotes(value)) return value;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      out.append({'\\', 'x', kHex[byte / 16], kHex[byte % 16]});
    } else {
      out += c;
    }
  }
  return out + "\"";
}
// NOLINTNEXTLINE(performance-unnecessary-value-param): a key refers to a value that may change
std::string to_text(DataSourceConfig value) {
  std::string out;
  for (const SourceKey& key : source_keys()) {
    out += (out.empty() ? "{" : ", ") + std::string(key.name) + ": " + to_yaml(key.value(value));
  }
  return out + "}";
}
template <class T>
std::string to_text(const std::vector<T>& values) {
  std::string out;
  for (const T& value : values) out += (out.empty() ? "" : ", ") + to_text(value);
  return "[" + out + "]";
}

std::string complaint(const Node& node, const std::string& key, const std::string& expectation) {
  return key + ": expected " + expectation + ", " + found(node);
}

template <class T>
void read_into(const Node& node, const std::string& key, T* out, const Limits& limits,
               Problems& problems) {
  T value{};
  if (read_scalar(node, value) && fits(value, limits)) {
    *out = std::move(value);
  } else {
    problems.add(node.at, complaint(node, key, expected(out, limits)) + hint(node, out, limits));
  }
}

void read_into(const Node& node, const std::string& key, DataSourceConfig* out,
               const Limits& limits, Problems& problems) {
  if (node.kind != Node::Kind::kMap) {
    const bool is_path = node.kind == Node::Kind::kScalar && !node.text.empty();
    problems.add(node.at, complaint(node, key, expected(out, limits)) +
                              (is_path ? "; write {path: " + to_text(node.text) + "}" : ""));
    return;
  }
  for (const Entry& entry : node.entries) {
    const auto known = std::ranges::find(source_keys(), entry.key, &SourceKey::name);
    if (known != source_keys().end()) {
      read_value(entry.value, key + "." + entry.key, known->value(*out), known->limits, problems);
    } else {
      problems.add(entry.key_at, key + ": there is no key " + quoted(entry.key) +
                                     " in a source; the keys are path, weight");
    }
  }
  const Node* path = node.find("path");
  if (path == nullptr || (path->kind == Node::Kind::kScalar && path->text.empty())) {
    problems.add(node.at, key + ": this source has no path");
  }
}

template <class T>
void read_into(const Node& node, const std::string& key, std::vector<T>* out, const Limits& limits,
               Problems& problems) {
  if (node.kind != Node::Kind::kList) {
    problems.add(node.at, complaint(node, key, expected(out, limits)));
    return;
  }
  out->clear();
  for (const Node& item : node.items) {
    T value{};
    read_into(item, key, &value, limits, problems);
    out->push_back(std::move(value));
  }
}

}  // namespace

bool within(const Value& value, const Limits& limits) {
  return std::visit([&](const auto* v) { return fits(*v, limits); }, value);
}

std::string expectation(const Value& value, const Limits& limits) {
  return std::visit([&](const auto* v) { return expected(v, limits); }, value);
}

std::optional<double> as_number(const Node& node) {
  if (node.kind != Node::Kind::kScalar || !node.plain) return std::nullopt;
  return parse_number<double>(node.text);
}

std::string to_yaml(const Value& value) {
  return std::visit([](const auto* v) { return to_text(*v); }, value);
}

void read_value(const Node& node, const std::string& key, const Value& value, const Limits& limits,
                Problems& problems) {
  std::visit([&](auto* out) { read_into(node, key, out, limits, problems); }, value);
}

}  // namespace frugal::config
