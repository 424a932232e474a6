// Conversations from JSONL: one JSON object a line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/chat_format.h"

namespace frugal {

inline constexpr std::size_t kMaxLineBytes = std::size_t{64} << 20;

enum class SampleKind : std::uint8_t {
  kChat,         // {"messages": [{"role": "system" | "user" | "assistant", "content": TEXT}, ...]}
  kInstruction,  // {"instruction": TEXT, "input": TEXT (or none), "output": TEXT}
};

// The conversation of one line. Other members of the object are not looked at, other members of a
// message are refused. There is at least one message of an assistant, and only the first may be the
// system's. An instruction is what the user says, an empty line and the input behind it if there is
// one. Throws Error(kData), without the file's name.
std::vector<ChatMessage> read_sample(std::string_view line, SampleKind kind);

// Gives the lines of a text that are not empty, one by one.
class SampleLines {
 public:
  // `name` is the file, for messages.
  SampleLines(std::string_view text, std::string name) : rest_(text), name_(std::move(name)) {}

  // False at the end. Throws Error(kData) for a line that is too long.
  bool next(std::string_view& line);
  std::string place() const;  // "FILE:LINE" of the line given last

 private:
  std::string_view rest_;
  std::string name_;
  std::int64_t number_ = 0;
};

}  // namespace frugal
