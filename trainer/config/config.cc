// From YAML and overrides to a Config.
#include "trainer/config/config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>

#include "trainer/config/hugging_face.h"
#include "trainer/config/nearest.h"
#include "trainer/config/problems.h"
#include "trainer/config/schema.h"
#include "trainer/config/yaml_tree.h"

namespace frugal {
namespace config {
namespace {

bool is_section(std::string_view name) {
  return std::ranges::find(sections(), name) != sections().end();
}

// Reads sources in order; later ones replace what earlier ones set.
class Reader {
 public:
  void add_file(std::string_view text, const std::string& name) {
    const Source& source = sources_.emplace_back(Source{name, std::string(text), 0});
    roots_.push_back(read_yaml(source, 0, problems_));
    const Node& root = roots_.back();
    if (root.kind == Node::Kind::kScalar || root.kind == Node::Kind::kList) {
      problems_.add(root.at, "a config is made of sections, like 'model:' with its keys below");
    }
  }

  // section.key=value becomes the tree that a file with that one key would give.
  void add_override(const std::string& text, int number) {
    const Source& source =
        sources_.emplace_back(Source{"override " + std::to_string(number), text, number});
    const Position at{&source, 0, 0};
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      problems_.add(at, "an override is written section.key=value");
      return;
    }
    const std::string name = text.substr(0, equals);
    if (is_section(name)) {
      problems_.add(at, "'" + name + "' is a section; an override sets one key, like " + name +
                            "." + first_key_of(name) + "=value");
      return;
    }
    Node value = read_yaml(source, equals + 1, problems_);
    if (value.kind == Node::Kind::kNull) value.at = at;
    const auto dot = name.find('.');
    Node root{.kind = Node::Kind::kMap, .at = at};
    if (dot == std::string::npos || !is_section(name.substr(0, dot))) {
      root.entries.push_back({name, at, std::move(value)});
    } else {
      Node section{.kind = Node::Kind::kMap, .at = at};
      section.entries.push_back({name.substr(dot + 1), at, std::move(value)});
      root.entries.push_back({name.substr(0, dot), at, std::move(section)});
    }
    roots_.push_back(std::move(root));
  }

  Config read() {
    model_type_ = config_.model.model_type;
    for (const Node& root : roots_) {
      const Node* model = root.find("model");
      const Node* type = model == nullptr ? nullptr : model->find("model_type");
      if (type != nullptr) model_type_ = type->text;
    }
    for (const Node& root : roots_) {
      for (const Entry& entry : root.entries) read_top(entry);
    }
    complete_family(config_, problems_);
    problems_.throw_if_any();
    return std::move(config_);
  }

 private:
  static std::string first_key_of(std::string_view section) {
    return std::string(std::ranges::find(keys(), section, &Key::section)->name);
  }

  void read_top(const Entry& entry) {
    if (!is_section(entry.key)) return read_key("", entry);
    if (entry.value.kind == Node::Kind::kNull) return;  // nothing below: all defaults
    if (entry.value.kind != Node::Kind::kMap) {
      problems_.add(entry.value.at, "'" + entry.key + "' is a section: expected keys, like '" +
                                        first_key_of(entry.key) + ":', below it");
      return;
    }
    if (entry.key == "model") {
      for (const Entry& inner : translate_model(entry.value, model_type_, problems_)) {
        read_key(entry.key, inner);
      }
    } else {
      for (const Entry& inner : entry.value.entries) read_key(entry.key, inner);
    }
  }

  void read_key(std::string_view section, const Entry& entry) {
    const Key* key = find_key(section, entry.key);
    if (key == nullptr) {
      const std::string where = section.empty() ? "" : " in '" + std::string(section) + "'";
      problems_.add(entry.key_at, "there is no key " + quoted(entry.key) + where +
                                      unknown_key_hint(section, entry.key));
      return;
    }
    read_value(entry.value, key->full_name(), key->value(config_), key->limits, problems_);
    config_.origins.insert_or_assign(key->full_name(), describe(entry.value.at));
  }

  std::deque<Source> sources_;  // positions point into them
  std::deque<Node> roots_;
  Problems problems_;
  Config config_;
  std::string model_type_;
};

std::string read_text(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::string text(kLargestConfig + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad()) {
    const std::string why = errno != 0 ? std::strerror(errno) : "it is not a file";
    throw ConfigError(path + ": this config cannot be read: " + why);
  }
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

}  // namespace
}  // namespace config

Config parse_config(std::string_view text, const std::string& name,
                    std::span<const std::string> overrides) {
  config::Reader reader;
  reader.add_file(text, name);
  int number = 0;
  for (const std::string& text_of : overrides) reader.add_override(text_of, ++number);
  return reader.read();
}

Config load_config(const std::string& path, std::span<const std::string> overrides) {
  return parse_config(config::read_text(path), path, overrides);
}

}  // namespace frugal
