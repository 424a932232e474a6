// Byte-level BPE writes every byte of a token as a printable character.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>

#include "trainer/data/bpe.h"

namespace frugal {

// Between the bytes of a token and the characters that stand for them in a file.
class Spelling {
 public:
  Spelling();
  std::string spell(std::string_view bytes) const;
  // Throws Error(kData) for a character that stands for no byte; `name` is the file.
  std::string read(std::string_view spelled, const std::string& name) const;

 private:
  std::array<std::string, 256> of_byte_;
  std::unordered_map<std::string_view, char> bytes_;  // of the strings in of_byte_
};

}  // namespace frugal
