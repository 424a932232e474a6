// YAML text as a tree with positions, strictly: what YAML readers disagree about is refused.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/problems.h"

namespace frugal::config {

// Far beyond any config; what is larger is refused before it is held in memory.
inline constexpr std::size_t kLargestConfig = std::size_t{1} << 20U;  // bytes
inline constexpr std::size_t kLargestScalar = std::size_t{1} << 16U;  // bytes
inline constexpr int kMostNodes = 20000;
inline constexpr int kDeepest = 16;  // maps and lists inside each other

struct Entry;

struct Node {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  Position at;                 // of a null value in a map: its key's
  std::string text;            // scalar
  bool plain = true;           // scalar without quotes
  std::vector<Node> items;     // list
  std::vector<Entry> entries;  // map, in the order of the text; keys differ

  const Node* find(std::string_view key) const;  // nullptr: not in the map
};

struct Entry {
  std::string key;
  Position key_at;
  Node value;
};

// Reads source.text from byte `begin` on. Adds to problems: bad YAML, duplicate keys, anchors and
// aliases, merge keys, tags, tabs that indent, keys that are not plain names, more than one
// document, text that is not text, and what is beyond the limits above. Returns what could be read;
// kNull for nothing.
Node read_yaml(const Source& source, std::size_t begin, Problems& problems);

}  // namespace frugal::config
