// Text on standard output as its tokens come.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/data/tokenizer.h"

namespace frugal::cli {

// Prints whole characters, made safe to show, and flushes. finish() prints what is left.
class StreamedText {
 public:
  explicit StreamedText(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void add(std::int32_t token);
  void finish() { print(bytes_.size()); }

 private:
  void print(std::size_t end);

  const Tokenizer& tokenizer_;
  std::string bytes_;  // not printed yet
};

}  // namespace frugal::cli
