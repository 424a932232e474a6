#include "trainer/config/nearest.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "trainer/config/foreign_names.h"
#include "trainer/config/problems.h"
#include "trainer/config/schema.h"

namespace frugal::config {
namespace {

constexpr std::size_t kLongestWord = 64;  // bytes; what is longer is like nothing

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> two_above, above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
          lower(a[i - 2]) == lower(b[j - 1])) {
        row[j] = std::min(row[j], two_above[j - 2] + 1);
      }
    }
    two_above = above;
    above = row;
  }
  return above.back();
}

std::string did_you_mean(const std::string& name) {
  return "; did you mean '" + name + "'?";
}

std::vector<std::string_view> names_in(std::string_view section) {
  std::vector<std::string_view> out;
  for (const Key& key : keys()) {
    if (key.section == section) out.push_back(key.name);
  }
  if (section.empty()) out.insert(out.end(), sections().begin(), sections().end());
  return out;
}

// "'eval.interval', 'checkpoint.interval'": the keys of that name in other sections.
std::string homes_of(std::string_view name) {
  std::string out;
  for (const Key& key : keys()) {
    if (key.name == name) out += (out.empty() ? "'" : ", '") + key.full_name() + "'";
  }
  return out;
}

}  // namespace

std::string nearest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string out;
  if (word.size() > kLongestWord) return out;
  std::size_t best = word.size() < 5 ? 1 : 2;
  for (const auto candidate : candidates) {
    const std::size_t found = distance(word, candidate);
    if (found > best || (found == best && !out.empty())) continue;
    best = found;
    out = candidate;
  }
  return out;
}

std::string unknown_key_hint(std::string_view section, std::string_view name) {
  if (const auto hint = foreign_hint(name); !hint.empty()) return "; " + std::string(hint);
  if (const std::string homes = homes_of(name); !homes.empty())
    return "; did you mean " + homes + "?";
  if (const auto dot = name.find('.'); section.empty() && dot != std::string_view::npos) {
    const auto inner = name.substr(0, dot), key = name.substr(dot + 1);
    if (find_key(inner, key) != nullptr) {
      return "; write " + quoted(key) + " below '" + std::string(inner) + ":'";
    }
    const std::string section_meant = nearest(inner, sections());
    if (find_key(section_meant, key) != nullptr) {
      return did_you_mean(section_meant + "." + std::string(key));
    }
  }
  const auto here = names_in(section);
  if (const std::string close = nearest(name, here); !close.empty()) {
    const bool nested = !section.empty();
    return did_you_mean(nested ? std::string(section) + "." + close : close);
  }
  std::vector<std::string_view> all;
  for (const Key& key : keys()) all.push_back(key.name);
  if (const std::string close = nearest(name, all); !close.empty()) {
    return "; did you mean " + homes_of(close) + "?";
  }
  std::string out;
  for (const auto key : here) out += (out.empty() ? "; there is " : ", ") + std::string(key);
  return out;
}

std::string unknown_choice_hint(std::string_view word, std::span<const std::string_view> choices) {
  struct Foreign {
    std::string_view name, choice;
  };
  static constexpr std::array<Foreign, 19> kForeign{{{"bfloat16", "bf16"},
                                                     {"float16", "fp16"},
                                                     {"half", "fp16"},
                                                     {"f16", "fp16"},
                                                     {"float32", "fp32"},
                                                     {"float", "fp32"},
                                                     {"f32", "fp32"},
                                                     {"gpu", "cuda"},
                                                     {"cuda:0", "cuda"},
                                                     {"one_f_one_b", "1f1b"},
                                                     {"afab", "gpipe"},
                                                     {"interleaved", "interleaved_1f1b"},
                                                     {"interleaved1f1b", "interleaved_1f1b"},
                                                     {"zero_bubble", "zb_h1"},
                                                     {"zbh1", "zb_h1"},
                                                     {"adam", "adamw"},
                                                     {"constant_with_warmup", "constant"},
                                                     {"warmup_stable_decay", "wsd"},
                                                     {"cosine_with_min_lr", "cosine"}}};
  std::string small(word);
  std::ranges::transform(small, small.begin(), lower);
  for (const Foreign& foreign : kForeign) {
    if (foreign.name == small && std::ranges::find(choices, foreign.choice) != choices.end()) {
      return did_you_mean(std::string(foreign.choice));
    }
  }
  const std::string close = nearest(word, choices);
  return close.empty() ? "" : did_you_mean(close);
}

}  // namespace frugal::config
