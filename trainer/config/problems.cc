#include "trainer/config/problems.h"

#include <algorithm>
#include <tuple>

namespace frugal::config {
namespace {

constexpr std::size_t kMostProblems = 100;
constexpr std::size_t kLongestLine = 160;  // bytes of a source line shown
constexpr std::size_t kLongestQuote = 60;  // bytes of a value shown
constexpr std::string_view kIndent = "    ";

bool starts_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
}

std::string printable(std::string_view text) {
  std::string out(text);
  std::ranges::replace_if(
      out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
  return out;
}

std::string_view line_of(std::string_view text, int line) {
  for (; line > 0; --line) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string quoted(std::string_view text) {
  if (text.size() <= kLongestQuote) return "'" + printable(text) + "'";
  std::size_t end = kLongestQuote;
  while (end > 0 && !starts_character(text[end])) --end;
  return "'" + printable(text.substr(0, end)) + "...'";
}

KeyOrigin describe(const Position& at) {
  std::string_view line = line_of(at.source->text, at.line);
  std::size_t column = std::min(static_cast<std::size_t>(std::max(at.column, 0)), line.size());
  const auto characters = std::ranges::count_if(line.substr(0, column), starts_character);
  KeyOrigin out{.place = at.source->name, .excerpt = {}};
  if (at.source->order == 0) {
    out.place += ":" + std::to_string(at.line + 1) + ":" + std::to_string(characters + 1);
  }
  if (column > kLongestLine / 2) {
    std::size_t begin = column - kLongestLine / 2;
    while (begin < column && !starts_character(line[begin])) ++begin;
    line.remove_prefix(begin);
    column -= begin;
  }
  std::size_t end = std::min(line.size(), kLongestLine);
  while (end > column && end < line.size() && !starts_character(line[end])) --end;
  line = line.substr(0, end);
  const auto before = std::ranges::count_if(line.substr(0, column), starts_character);
  out.excerpt.append(kIndent).append(printable(line)).append("\n").append(kIndent);
  out.excerpt.append(static_cast<std::size_t>(before), ' ').append("^");
  return out;
}

void Problems::add(const Position& at, std::string message) {
  if (list_.size() < kMostProblems) {
    list_.push_back({at, describe(at), std::move(message)});
  } else {
    ++beyond_;
  }
}

void Problems::add(const KeyOrigin& origin, std::string message) {
  if (list_.size() < kMostProblems) {
    list_.push_back({{}, origin, std::move(message)});
  } else {
    ++beyond_;
  }
}

void Problems::throw_if_any() const {
  if (list_.empty()) return;
  auto sorted = list_;
  std::ranges::stable_sort(sorted, {}, [](const Problem& p) {
    return std::tuple(p.at.source == nullptr ? 0 : p.at.source->order, p.at.line, p.at.column);
  });
  std::string text;
  for (const Problem& problem : sorted) {
    if (!text.empty()) text += "\n";
    if (!problem.origin.place.empty()) text += problem.origin.place + ": ";
    text += problem.message;
    if (!problem.origin.excerpt.empty()) text += "\n" + problem.origin.excerpt;
  }
  if (beyond_ > 0) text += "\nand " + std::to_string(beyond_) + " more";
  throw ConfigError(text);
}

}  // namespace frugal::config
