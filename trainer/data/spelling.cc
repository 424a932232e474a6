#include "trainer/data/spelling.h"

#include <cstdint>

#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "trainer/data/characters.h"

namespace frugal {

Spelling::Spelling() {
  const std::array<char32_t, 256> characters = byte_characters();
  for (std::size_t byte = 0; byte < 256; ++byte) {
    append_utf8(of_byte_[byte], characters[byte]);
    bytes_.emplace(of_byte_[byte], static_cast<char>(byte));
  }
}

std::string Spelling::spell(std::string_view bytes) const {
  std::string out;
  for (const char byte : bytes) out += of_byte_[static_cast<std::uint8_t>(byte)];
  return out;
}

std::string Spelling::read(std::string_view spelled, const std::string& name) const {
  std::string out;
  for (std::size_t at = 0; at < spelled.size();) {
    const std::size_t length = static_cast<std::uint8_t>(spelled[at]) < 0x80 ? 1 : 2;
    const auto found = bytes_.find(spelled.substr(at, length));
    if (found == bytes_.end()) {
      fail(ErrorKind::kData, name, ": token ",
           nlohmann::json(spelled).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace),
           " has a character that stands for no byte: not a byte-level vocabulary");
    }
    out += found->second;
    at += length;
  }
  return out;
}

}  // namespace frugal
