// XXH3-128 (Collet, github.com/Cyan4973/xxHash): finds damage, not malice.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace frugal {

using Checksum = std::array<std::byte, 16>;  // xxHash's canonical (big-endian) form

std::string to_hex(const Checksum& checksum);  // 32 digits

class Checksummer {
 public:
  Checksummer();
  ~Checksummer();
  Checksummer(const Checksummer&) = delete;
  Checksummer& operator=(const Checksummer&) = delete;

  void add(std::span<const std::byte> bytes);
  void add_text(const std::string& text) { add(std::as_bytes(std::span(text))); }
  template <class T>
  void add_value(const T& value) {
    add(std::as_bytes(std::span(&value, 1)));
  }
  Checksum result() const;  // of everything so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Checksum checksum(std::span<const std::byte> bytes);

}  // namespace frugal
