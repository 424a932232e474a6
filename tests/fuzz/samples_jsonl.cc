// Any bytes as JSONL of conversations or instructions: each line read and rendered, or refused with
// Error(kData). What is rendered is the text that was read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "kernels/core/check.h"
#include "trainer/data/chat_samples.h"
#include "trainer/data/tokenizer.h"

namespace {

using frugal::ChatRole;

std::string expected(const std::vector<frugal::ChatMessage>& messages) {
  std::string text;
  for (const auto& [role, content] : messages) {
    const char* name = role == ChatRole::kSystem ? "system"
                       : role == ChatRole::kUser ? "user"
                                                 : "assistant";
    text += std::string("<|im_start|>") + name + "\n" + content + "<|im_end|>\n";
  }
  return text;
}

void try_line(std::string_view line, frugal::SampleKind kind) {
  static const frugal::Tokenizer tokenizer =
      frugal::Tokenizer::load(FRUGAL_GOLDEN_DIR "/tokenizer/smollm2");
  static const frugal::ChatFormat format = frugal::ChatFormat::of(tokenizer);
  try {
    const auto messages = frugal::read_sample(line, kind);
    const frugal::ChatTokens made = format.render(messages);
    if (made.ids.size() != made.answer.size()) std::abort();
    if (tokenizer.decode(made.ids) != expected(messages)) std::abort();
  } catch (const frugal::Error& error) {
    if (error.kind() != frugal::ErrorKind::kData) throw;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  frugal::SampleLines lines({reinterpret_cast<const char*>(data), size}, "fuzz");
  for (std::string_view line; lines.next(line);) {
    try_line(line, frugal::SampleKind::kChat);
    try_line(line, frugal::SampleKind::kInstruction);
  }
  return 0;
}
