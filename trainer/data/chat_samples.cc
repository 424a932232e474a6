#include "trainer/data/chat_samples.h"

#include <algorithm>

#include "kernels/core/check.h"
#include "nlohmann/json.hpp"

namespace frugal {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 32;

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) fail(ErrorKind::kData, "\"", key, "\" is missing");
  if (!found->is_string()) fail(ErrorKind::kData, "\"", key, "\" is not a text");
  return found->get<std::string>();
}

ChatRole role_of(const std::string& role) {
  if (role == "system") return ChatRole::kSystem;
  if (role == "user") return ChatRole::kUser;
  if (role == "assistant") return ChatRole::kAssistant;
  fail(ErrorKind::kData, "the role ", json(role).dump(-1, ' ', true),
       " is not known: system, user and assistant are");
}

std::vector<ChatMessage> read_messages(const json& object) {
  const auto list = object.find("messages");
  if (list == object.end() || !list->is_array()) {
    fail(ErrorKind::kData, "no list \"messages\" found");
  }
  std::vector<ChatMessage> messages;
  bool answered = false;
  for (const json& item : *list) {
    if (!item.is_object()) fail(ErrorKind::kData, "a message is not an object");
    for (const auto& [key, value] : item.items()) {
      if (key != "role" && key != "content") {
        fail(ErrorKind::kData, json(key).dump(-1, ' ', true),
             " in a message is not known: only role and content can be learned from");
      }
    }
    messages.push_back({role_of(text_of(item, "role")), text_of(item, "content")});
    if (messages.back().role == ChatRole::kSystem && messages.size() > 1) {
      fail(ErrorKind::kData, "message ", messages.size(),
           " is the system's, which can only be the first");
    }
    answered = answered || messages.back().role == ChatRole::kAssistant;
  }
  if (!answered) fail(ErrorKind::kData, "no message of an assistant: nothing to learn");
  return messages;
}

std::vector<ChatMessage> read_instruction(const json& object) {
  std::string ask = text_of(object, "instruction");
  const auto input = object.find("input");
  if (input != object.end() && !input->is_null()) {
    const std::string text = text_of(object, "input");
    if (!text.empty()) ask += "\n\n" + text;
  }
  return {{ChatRole::kUser, std::move(ask)}, {ChatRole::kAssistant, text_of(object, "output")}};
}

}  // namespace

std::vector<ChatMessage> read_sample(std::string_view line, SampleKind kind) {
  const auto shallow = [](int depth, json::parse_event_t, const json&) {
    if (depth > kMaxDepth) fail(ErrorKind::kData, "nested too deeply");
    return true;
  };
  const json object = json::parse(line, shallow, false);
  if (!object.is_object()) fail(ErrorKind::kData, "not a JSON object");
  return kind == SampleKind::kChat ? read_messages(object) : read_instruction(object);
}

bool SampleLines::next(std::string_view& line) {
  while (!rest_.empty()) {
    line = rest_.substr(0, rest_.find('\n'));
    rest_.remove_prefix(std::min(line.size() + 1, rest_.size()));
    ++number_;
    if (line.size() > kMaxLineBytes) {
      fail(ErrorKind::kData, place(), ": ", line.size(), " bytes in one line; up to ",
           kMaxLineBytes, " can be read");
    }
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) return true;
  }
  return false;
}

std::string SampleLines::place() const {
  return concat(name_, ":", number_);
}

}  // namespace frugal
