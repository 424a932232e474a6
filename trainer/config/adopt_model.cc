// A config.json into the model section of a config that names it by model.init_from.
#include <algorithm>
#include <array>
#include <set>

#include "nlohmann/json.hpp"
#include "trainer/config/config.h"
#include "trainer/config/hugging_face.h"
#include "trainer/config/schema.h"

namespace frugal {
namespace config {
namespace {

using nlohmann::json;

// What a longer context or other new weights need, and no tensor's shape depends on (but gpt2's
// positions, whose table says so itself): the user's word counts.
constexpr std::array<std::string_view, 8> kFree{
    "init_from", "initializer_range", "max_position_embeddings", "rope_theta",
    "rope_type", "rope_factor",       "rope_low_freq_factor",    "rope_high_freq_factor"};
// Programs differ in what they take for these where a config.json is silent.
constexpr std::array<std::string_view, 4> kNeeded{"hidden_size", "num_hidden_layers",
                                                  "num_attention_heads", "vocab_size"};
constexpr std::array<std::string_view, 3> kNeededButGpt2{"intermediate_size", "rms_norm_eps",
                                                         "max_position_embeddings"};

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

class Adoption {
 public:
  Adoption(Config& config, const Source& source) : config_(config), source_(source) {}

  void run(const json& file) {
    const Node root = node_of(file, {&source_, 0, 0}, source_);
    const Node* type = root.find("model_type");
    const std::string model_type = type == nullptr ? "" : type->text;
    const Key* key = find_key("model", "model_type");
    if (std::ranges::find(key->limits.choices, model_type) == key->limits.choices.end()) {
      std::string known;
      for (const auto choice : key->limits.choices) {
        known += (known.empty() ? "" : ", ") + std::string(choice);
      }
      problems_.add(type == nullptr ? root.at : type->at,
                    "model_type is " + (type == nullptr ? "missing" : config::quoted(model_type)) +
                        ": only models of the families " + known + " can be read");
      problems_.throw_if_any();
    }
    const auto entries = translate_model(root, model_type, problems_);
    for (const Entry& entry : entries) take(entry);
    const auto need = [&](std::string_view name) {
      if (std::ranges::find(entries, name, &Entry::key) != entries.end()) return;
      problems_.add(root.at, "model." + std::string(name) + " is not said there");
    };
    std::ranges::for_each(kNeeded, need);
    if (model_type != "gpt2") std::ranges::for_each(kNeededButGpt2, need);
    complete_family(config_, problems_);
    problems_.throw_if_any();
  }

 private:
  void take(const Entry& entry) {
    const Key* key = find_key("model", entry.key);
    if (key == nullptr || entry.key == "init_from") {
      problems_.add(entry.key_at, "the field " + config::quoted(entry.key) +
                                      " is not known here: it may change what the model computes");
      return;
    }
    Config theirs;
    const std::string name = key->full_name();
    read_value(entry.value, name, key->value(theirs), key->limits, problems_);
    const std::string value = to_yaml(key->value(theirs));
    const auto origin = config_.origins.find(name);
    if (origin == config_.origins.end()) {
      read_value(entry.value, name, key->value(config_), key->limits, unheard_);
      config_.origins.emplace(name, describe(entry.value.at));
      return;
    }
    const bool free = std::ranges::find(kFree, entry.key) != kFree.end();
    if (free || to_yaml(key->value(config_)) == value) return;
    problems_.add(origin->second, name + " is " + to_yaml(key->value(config_)) + " here, but " +
                                      value + " in " + source_.name +
                                      ", whose weights model.init_from asks for; remove the key");
  }

  Config& config_;
  const Source& source_;
  Problems problems_, unheard_;  // unheard: said already
};

}  // namespace
}  // namespace config

void adopt_model(Config& config, std::string_view text, const std::string& name) {
  if (text.size() > config::kLargestConfig) {
    throw ConfigError(name + ": " + std::to_string(text.size()) + " bytes; up to " +
                      std::to_string(config::kLargestConfig) + " can be read");
  }
  const config::Source source{name, std::string(text), 0};
  config::Watch watch;
  const nlohmann::json file =
      nlohmann::json::parse(text, std::ref(watch), /*allow_exceptions=*/false);
  if (!watch.fault().empty() || !file.is_object()) {
    throw ConfigError(
        name + ": " +
        (watch.fault().empty() ? "not a JSON object, or a damaged one" : watch.fault()));
  }
  config::Adoption(config, source).run(file);
}

}  // namespace frugal
