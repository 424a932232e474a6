#include "trainer/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>

namespace frugal::config {
namespace {

struct BeyondLimits {};  // the problem is noted; stop reading

// Builds the tree from the parser's events. Collections under construction are on a stack; one that
// ends moves into its parent.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const Source& source, int first_column, Problems& problems)
      : source_(source), first_column_(first_column), problems_(problems) {}

  Node take() { return std::move(root_); }

  Position position(const YAML::Mark& mark) const {
    const int line = std::max(mark.line, 0);
    return {&source_, line, std::max(mark.column, 0) + (line == 0 ? first_column_ : 0)};
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ == 1) {
      problems_.add(position(mark), "a second document starts here; one file is one run");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    add({.kind = Node::Kind::kNull, .at = position(mark), .text = "null"});
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    problems_.add(position(mark), "aliases (*name) are not read; write the value again");
    add({.kind = Node::Kind::kNull, .at = position(mark)});
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    if (value.size() > kLargestScalar) give_up(mark, "a value is longer than 64 KiB");
    add({.kind = Node::Kind::kScalar, .at = position(mark), .text = value, .plain = tag == "?"});
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    open(Node::Kind::kList, mark);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    open(Node::Kind::kMap, mark);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Node node;
    std::optional<Node> key;  // of a map whose next node is that key's value
  };

  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) {
      problems_.add(position(mark), "anchors (&name) are not read; write the value itself");
    }
  }

  // "?" is no tag; "!" is what quoted text gets.
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag != "?" && tag != "!" && !tag.empty()) {
      problems_.add(position(mark), "tags (" + tag + ") are not read; write the value alone");
    }
  }

  [[noreturn]] void give_up(const YAML::Mark& mark, const std::string& why) {
    problems_.add(position(mark), why + ": this is not a config");
    throw BeyondLimits();
  }

  void open(Node::Kind kind, const YAML::Mark& mark) {
    if (open_.size() == static_cast<std::size_t>(kDeepest))
      give_up(mark, "more than 16 maps and lists inside each other");
    open_.push_back({.node = {.kind = kind, .at = position(mark)}, .key = {}});
  }

  void close() {
    Node node = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(node));
  }

  void add(Node node) {
    if (++nodes_ > kMostNodes) {
      problems_.add(node.at, "more than 20000 values: this is not a config");
      throw BeyondLimits();
    }
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (Open& parent = open_.back(); parent.node.kind == Node::Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.key) {
      parent.key = std::move(node);
    } else {
      add_entry(parent.node, *parent.key, std::move(node));
      parent.key.reset();
    }
  }

  void add_entry(Node& map, const Node& key, Node value) {
    if (key.kind != Node::Kind::kScalar) {
      problems_.add(key.at, "a key must be a name");
      return;
    }
    if (key.plain && key.text == "<<") {
      problems_.add(key.at, "merge keys (<<) are not read; write the keys themselves");
      return;
    }
    const auto earlier = std::ranges::find(map.entries, key.text, &Entry::key);
    if (earlier != map.entries.end()) {
      problems_.add(key.at, "key " + quoted(key.text) + " is set twice, first in line " +
                                std::to_string(earlier->key_at.line + 1) + "; remove one of them");
      return;
    }
    if (value.kind == Node::Kind::kNull) value.at = key.at;
    map.entries.push_back({key.text, key.at, std::move(value)});
  }

  const Source& source_;
  int first_column_;
  Problems& problems_;
  int documents_ = 0, nodes_ = 0;
  Node root_;
  std::vector<Open> open_;
};

// The parser's words for the faults that users make most, in ours. It notices an unclosed bracket
// at the next token, hence "near".
std::string explain(const std::string& message) {
  using namespace YAML;
  if (message == ErrorMsg::END_OF_SEQ_FLOW) return "a '[' before here is not closed with ']'";
  if (message == ErrorMsg::END_OF_MAP_FLOW) return "a '{' before here is not closed with '}'";
  if (message == ErrorMsg::FLOW_END) return "this bracket closes nothing";
  if (message == ErrorMsg::EOF_IN_SCALAR) return "a quoted text is not closed";
  if (message == ErrorMsg::END_OF_MAP || message == ErrorMsg::MAP_KEY ||
      message == ErrorMsg::MAP_VALUE || message == ErrorMsg::END_OF_SEQ ||
      message == ErrorMsg::BLOCK_ENTRY) {
    return "the indentation does not fit, or a ':' has no space behind it";
  }
  if (message == ErrorMsg::UNKNOWN_ANCHOR) return "aliases (*name) are not read";
  return message;
}

// What the parser would swallow or stumble over. False: do not parse.
bool check_text(const Source& source, Problems& problems) {
  if (source.text.size() > kLargestConfig) {
    problems.add(KeyOrigin{.place = source.name, .excerpt = {}},
                 "larger than 1 MiB: this is not a config");
    return false;
  }
  Position at{&source, 0, 0};
  bool indentation = true, ok = true;
  for (const char c : source.text) {
    if (c == '\t' && indentation) {
      problems.add(at, "a tab indents this line; use spaces");
      ok = false;
      indentation = false;
    }
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t' && c != '\n' && c != '\r') || byte == 0xFE || byte == 0xFF) {
      problems.add(KeyOrigin{.place = source.name, .excerpt = {}},
                   "line " + std::to_string(at.line + 1) +
                       " holds a byte that no text has; save the file as plain UTF-8");
      return false;
    }
    indentation = c == '\n' || (indentation && c == ' ');
    at = c == '\n' ? Position{&source, at.line + 1, 0} : Position{&source, at.line, at.column + 1};
  }
  return ok;
}

}  // namespace

const Node* Node::find(std::string_view key) const {
  const auto found = std::ranges::find(entries, key, &Entry::key);
  return found == entries.end() ? nullptr : &found->value;
}

Node read_yaml(const Source& source, std::size_t begin, Problems& problems) {
  if (!check_text(source, problems)) return {};
  std::istringstream in(source.text.substr(begin));
  TreeBuilder builder(source, static_cast<int>(begin), problems);
  Node root;
  try {
    YAML::Parser parser(in);
    parser.HandleNextDocument(builder);
    root = builder.take();
    parser.HandleNextDocument(builder);
  } catch (const BeyondLimits&) {
    return {};
  } catch (const YAML::Exception& error) {
    problems.add(builder.position(error.mark), "not valid YAML near here: " + explain(error.msg));
  }
  return root;
}

}  // namespace frugal::config
