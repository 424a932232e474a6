#include "trainer/config/json_tree.h"

#include <algorithm>
#include <set>

#include "nlohmann/json.hpp"

namespace frugal::config {
namespace {

using nlohmann::json;

// Refuses keys that stand twice in a map, which json::parse would pass over, and deep nesting.
class Watch {
 public:
  bool operator()(int depth, json::parse_event_t event, const json& value) {
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key &&
        !keys_.back().insert(value.get<std::string>()).second) {
      fault_ = "the key " + config::quoted(value.get<std::string>()) + " stands there twice";
    }
    if (depth > kDeepest) fault_ = "it is nested too deeply";
    return depth <= kDeepest;
  }
  const std::string& fault() const { return fault_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string fault_;
};

// Where "key" first stands in the text; its beginning where it is not found so spelt.
Position position_of(const Source& source, const std::string& key) {
  const auto at = source.text.find('"' + key + '"');
  if (at == std::string::npos) return {&source, 0, 0};
  const auto begin = source.text.begin();
  const auto here = begin + static_cast<std::ptrdiff_t>(at);
  const auto line = std::count(begin, here, '\n');
  const auto start = at == 0 ? std::string::npos : source.text.rfind('\n', at - 1);
  const auto column = at - (start == std::string::npos ? 0 : start + 1);
  return {&source, static_cast<int>(line), static_cast<int>(column)};
}

Node node_of(const json& value, const Position& at, const Source& source) {
  Node out{.at = at};
  if (value.is_object()) {
    out.kind = Node::Kind::kMap;
    for (const auto& [key, inner] : value.items()) {
      const Position here = position_of(source, key);
      out.entries.push_back({key, here, node_of(inner, here, source)});
    }
  } else if (value.is_array()) {
    out.kind = Node::Kind::kList;
    for (const json& item : value) out.items.push_back(node_of(item, at, source));
  } else if (!value.is_null()) {
    out.kind = Node::Kind::kScalar;
    out.plain = !value.is_string();
    out.text = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return out;
}

}  // namespace

Node read_json(const Source& source) {
  const std::string& text = source.text;
  if (text.size() > kLargestConfig) {
    throw ConfigError(source.name + ": " + std::to_string(text.size()) + " bytes; up to " +
                      std::to_string(kLargestConfig) + " can be read");
  }
  Watch watch;
  const json file = json::parse(text, std::ref(watch), /*allow_exceptions=*/false);
  if (!watch.fault().empty() || !file.is_object()) {
    throw ConfigError(
        source.name + ": " +
        (watch.fault().empty() ? "not a JSON object, or a damaged one" : watch.fault()));
  }
  return node_of(file, {&source, 0, 0}, source);
}

}  // namespace frugal::config
