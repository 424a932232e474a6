#include "trainer/config/json_tree.h"

#include <cstdint>
#include <unordered_set>
#include <utility>

#include "nlohmann/json.hpp"

namespace frugal::config {
namespace {

using nlohmann::json;

// Where the keys of a text stand, one after the other: the parser reports keys without positions,
// but in order.
class KeyPlaces {
 public:
  explicit KeyPlaces(const Source& source) : source_(source), text_(source.text) {}

  Position next() {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') {
        ++line_;
        line_start_ = at_ + 1;
      }
      if (text_[at_] != '"') continue;
      const Position here{&source_, line_, static_cast<int>(at_ - line_start_)};
      for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
        if (text_[at_] == '\\') ++at_;
      }
      const auto after = text_.find_first_not_of(" \t\r\n", at_ + 1);
      if (after == std::string_view::npos || text_[after] != ':') continue;
      ++at_;
      return here;
    }
    return {&source_, line_, 0};
  }

 private:
  const Source& source_;
  const std::string_view text_;
  std::size_t at_ = 0, line_start_ = 0;
  int line_ = 0;
};

// The library's own builders keep the last of equal keys, and with a callback take quadratic time.
class TreeBuilder : public nlohmann::json_sax<json> {
 public:
  explicit TreeBuilder(const Source& source)
      : places_(source), root_{.at = {&source, 0, 0}}, here_(root_.at) {}

  bool null() override { return add({.at = here_}) != nullptr; }
  bool boolean(bool value) override { return scalar(value ? "true" : "false", true); }
  bool number_integer(std::int64_t value) override { return scalar(json(value).dump(), true); }
  bool number_unsigned(std::uint64_t value) override { return scalar(json(value).dump(), true); }
  bool number_float(double value, const std::string& /*text*/) override {
    return scalar(json(value).dump(), true);
  }
  bool string(std::string& value) override { return scalar(std::move(value), false); }
  bool binary(json::binary_t& /*value*/) override { return false; }  // not in texts

  bool start_object(std::size_t /*size*/) override { return open(Node::Kind::kMap); }
  bool start_array(std::size_t /*size*/) override { return open(Node::Kind::kList); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    here_ = places_.next();
    if (!open_.back().keys.insert(name).second) {
      return refuse("the key " + config::quoted(name) + " stands there twice");
    }
    open_.back().node->entries.push_back({name, here_, {}});
    return true;
  }

  bool parse_error(std::size_t /*byte*/, const std::string& /*token*/,
                   const json::exception& /*error*/) override {
    return false;
  }

  const std::string& fault() const { return fault_; }
  Node take() { return std::move(root_); }

 private:
  struct Open {
    Node* node;
    std::unordered_set<std::string> keys;
  };

  bool refuse(std::string why) {
    fault_ = std::move(why);
    return false;
  }

  // Where the node is now; null where there are too many.
  Node* add(Node node) {
    if (++nodes_ > kMostNodes) {
      refuse("it has more than " + std::to_string(kMostNodes) + " values");
      return nullptr;
    }
    if (open_.empty()) return &(root_ = std::move(node));
    Node& parent = *open_.back().node;
    if (parent.kind == Node::Kind::kMap) {
      return &(parent.entries.back().value = std::move(node));
    }
    return &parent.items.emplace_back(std::move(node));
  }

  bool scalar(std::string text, bool plain) {
    return add({.kind = Node::Kind::kScalar,
                .at = here_,
                .text = std::move(text),
                .plain = plain,
                .items = {},
                .entries = {}}) != nullptr;
  }

  bool open(Node::Kind kind) {
    if (open_.size() == static_cast<std::size_t>(kDeepest)) {
      return refuse("it is nested too deeply");
    }
    Node* node = add({.kind = kind, .at = here_});
    if (node == nullptr) return false;
    open_.push_back({node, {}});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  KeyPlaces places_;
  Node root_;
  Position here_;  // of the last key
  std::vector<Open> open_;
  int nodes_ = 0;
  std::string fault_;
};

}  // namespace

Node read_json(const Source& source) {
  if (source.text.size() > kLargestConfig) {
    throw ConfigError(source.name + ": " + std::to_string(source.text.size()) + " bytes; up to " +
                      std::to_string(kLargestConfig) + " can be read");
  }
  TreeBuilder builder(source);
  const bool whole = json::sax_parse(source.text, &builder);
  Node root = builder.take();
  if (whole && root.kind == Node::Kind::kMap) return root;
  throw ConfigError(
      source.name + ": " +
      (builder.fault().empty() ? "not a JSON object, or a damaged one" : builder.fault()));
}

}  // namespace frugal::config
