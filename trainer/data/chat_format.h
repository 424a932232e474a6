// Conversations as tokens, in the formats that chat models were trained with: a closed set, written
// by the program; templates in files are not run.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/tokenizer.h"

namespace frugal {

enum class ChatRole : std::uint8_t { kSystem, kUser, kAssistant };

struct ChatMessage {
  ChatRole role = ChatRole::kUser;
  std::string content;  // text: names of special tokens in it are text
};

struct ChatTokens {
  std::vector<std::int32_t> ids;
  std::vector<bool> answer;  // of each id: part of what an assistant says, its end included
};

// Formats, by name (B: what texts begin with; E: what ends a text):
//   chatml       <|im_start|>ROLE\nCONTENT<|im_end|>\n         Qwen, QwQ, SmolLM2
//   llama3       B<|start_header_id|>ROLE<|end_header_id|>\n\nCONTENT<|eot_id|>   content without
//                white space around it
//   deepseek-v2  B, system: CONTENT\n\n, user: User: CONTENT\n\n, assistant: Assistant: CONTENT E
//   deepseek-v3  B, system: CONTENT, user: <|User|>CONTENT, assistant: <|Assistant|>CONTENT E; also
//   R1
// Immutable, thread-safe; keeps a pointer to the tokenizer.
class ChatFormat {
 public:
  // By name, or the one whose special tokens the tokenizer has if the name is empty. Throws
  // Error(kUsage) for a name that is not known, Error(kData) if the tokenizer lacks a token.
  static ChatFormat of(const Tokenizer& tokenizer, std::string_view name = {});

  std::string_view name() const;
  std::int32_t end_of_turn() const { return end_of_turn_; }

  // The tokens of a conversation; what an assistant says is cut into tokens apart from what is
  // before, so that it has the tokens that would be generated. With `ask` what an assistant's
  // answer begins with stands at the end. A system message comes first or not at all: throws
  // Error(kData).
  ChatTokens render(std::span<const ChatMessage> messages, bool ask = false) const;

 private:
  struct Layout;
  class Renderer;
  ChatFormat(const Tokenizer& tokenizer, const Layout& layout);
  static std::span<const Layout> layouts();

  const Tokenizer* tokenizer_;
  const Layout* layout_;
  std::int32_t end_of_turn_;
};

}  // namespace frugal
