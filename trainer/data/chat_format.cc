#include "trainer/data/chat_format.h"

#include <algorithm>
#include <utility>

#include "kernels/core/check.h"
#include "trainer/data/characters.h"

namespace frugal {
namespace {

// A special token, or a text around the content.
struct Piece {
  bool special;
  std::string_view text;
};
using Pieces = std::vector<Piece>;

Piece token(std::string_view name) {
  return {true, name};
}
Piece text(std::string_view text) {
  return {false, text};
}

struct Turn {
  Pieces before, after;
  std::string_view lead = {};  // what the content begins with
};

constexpr std::string_view kSentenceBegin = "<\uff5cbegin\u2581of\u2581sentence\uff5c>";
constexpr std::string_view kSentenceEnd = "<\uff5cend\u2581of\u2581sentence\uff5c>";

Turn chatml_turn(std::string_view head) {
  return {{token("<|im_start|>"), text(head)}, {token("<|im_end|>"), text("\n")}};
}

Turn llama3_turn(std::string_view role) {
  return {{token("<|start_header_id|>"), text(role), token("<|end_header_id|>"), text("\n\n")},
          {token("<|eot_id|>")}};
}

// As Python's strip: Unicode's white space and the separators of ASCII.
std::string_view stripped(std::string_view content) {
  const auto is_space = [](const Char& c) {
    return c.char_class == kSpace || (c.code >= 0x1C && c.code <= 0x1F);
  };
  std::size_t begin = 0;
  while (begin < content.size() && is_space(char_at(content, begin))) {
    begin += char_at(content, begin).bytes;
  }
  std::size_t end = begin;
  for (std::size_t at = begin; at < content.size();) {
    const Char c = char_at(content, at);
    at += c.bytes;
    if (!is_space(c)) end = at;
  }
  return content.substr(begin, end - begin);
}

}  // namespace

struct ChatFormat::Layout {
  std::string_view name;
  std::string_view begin;  // a special token, or none
  Turn system, user, assistant;
  bool strip = false;  // white space around contents

  const Turn& turn(ChatRole role) const {
    return role == ChatRole::kSystem ? system : role == ChatRole::kUser ? user : assistant;
  }
  // The special tokens that are in it, the beginning first, the end of a turn last.
  std::vector<std::string_view> tokens() const {
    std::vector<std::string_view> names;
    if (!begin.empty()) names.push_back(begin);
    for (const Turn* turn : {&system, &user, &assistant}) {
      for (const Pieces* pieces : {&turn->before, &turn->after}) {
        for (const Piece& piece : *pieces) {
          if (piece.special) names.push_back(piece.text);
        }
      }
    }
    return names;
  }
};

std::span<const ChatFormat::Layout> ChatFormat::layouts() {
  static const std::vector<Layout> known = {
      {"chatml", "", chatml_turn("system\n"), chatml_turn("user\n"), chatml_turn("assistant\n")},
      {"llama3", "<|begin_of_text|>", llama3_turn("system"), llama3_turn("user"),
       llama3_turn("assistant"), true},
      {"deepseek-v3",
       kSentenceBegin,
       {},
       {{token("<\uff5cUser\uff5c>")}, {}},
       {{token("<\uff5cAssistant\uff5c>")}, {token(kSentenceEnd)}}},
      {"deepseek-v2",
       kSentenceBegin,
       {{}, {text("\n\n")}},
       {{text("User: ")}, {text("\n\n")}},
       {{text("Assistant:")}, {token(kSentenceEnd)}, " "}},
  };
  return known;
}

ChatFormat ChatFormat::of(const Tokenizer& tokenizer, std::string_view name) {
  std::string names;
  for (const Layout& layout : layouts()) {
    names += concat(names.empty() ? "" : ", ", layout.name);
    if (!name.empty() && layout.name != name) continue;
    const auto tokens = layout.tokens();
    const auto missing = std::ranges::find_if(
        tokens, [&](std::string_view token) { return !tokenizer.special(token); });
    if (missing == tokens.end()) return {tokenizer, layout};
    if (name.empty()) continue;
    fail(ErrorKind::kData, "chat format ", name, ": the tokenizer has no token ", *missing,
         ": choose a format that the model knows, or a tokenizer that has it");
  }
  if (name.empty()) {
    fail(ErrorKind::kData, "the tokenizer has the special tokens of no known chat format (", names,
         "): take the tokenizer of a chat model");
  }
  fail(ErrorKind::kUsage, "chat format ", name, " is not known: choose one of ", names);
}

ChatFormat::ChatFormat(const Tokenizer& tokenizer, const Layout& layout)
    : tokenizer_(&tokenizer),
      layout_(&layout),
      end_of_turn_(tokenizer.special(layout.tokens().back()).value()) {}

std::string_view ChatFormat::name() const {
  return layout_->name;
}

// Texts that follow each other are cut into tokens as one.
class ChatFormat::Renderer {
 public:
  explicit Renderer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void add(const Pieces& pieces) {
    for (const Piece& piece : pieces) {
      piece.special ? add_token(piece.text) : add_text(piece.text);
    }
  }
  void add_text(std::string_view text) { text_ += text; }
  void add_token(std::string_view name) {
    flush();
    out_.ids.push_back(tokenizer_.special(name).value());
    out_.answer.push_back(answer_);
  }
  // What follows is an answer, or none.
  void set_answer(bool answer) {
    flush();
    answer_ = answer;
  }
  ChatTokens finish() {
    flush();
    return std::move(out_);
  }

 private:
  void flush() {
    tokenizer_.encode_as_text(text_, out_.ids);
    out_.answer.resize(out_.ids.size(), answer_);
    text_.clear();
  }

  const Tokenizer& tokenizer_;
  ChatTokens out_;
  std::string text_;
  bool answer_ = false;
};

ChatTokens ChatFormat::render(std::span<const ChatMessage> messages, bool ask) const {
  Renderer out(*tokenizer_);
  if (!layout_->begin.empty()) out.add_token(layout_->begin);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& [role, content] = messages[i];
    if (role == ChatRole::kSystem && i > 0) {
      fail(ErrorKind::kData, "message ", i + 1, " is the system's, which can only be the first");
    }
    const Turn& turn = layout_->turn(role);
    const bool answer = role == ChatRole::kAssistant;
    out.add(turn.before);
    if (answer) out.set_answer(true);
    out.add_text(turn.lead);
    out.add_text(layout_->strip ? stripped(content) : std::string_view(content));
    if (answer) {  // its end is the first piece after it
      out.add({turn.after[0]});
      out.set_answer(false);
      out.add({turn.after.begin() + 1, turn.after.end()});
    } else {
      out.add(turn.after);
    }
  }
  if (ask) out.add(layout_->assistant.before);
  return out.finish();
}

}  // namespace frugal
