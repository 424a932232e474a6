// What the tests of foreign files share: files byte by byte, weights and their checksums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "trainer/checkpoint/foreign_weights.h"

namespace frugal::test {

// tests/golden/foreign/<name>
std::string golden(const std::string& name);

// The message of the Error(kData) that work throws; "" when it throws nothing.
std::string refusal(const std::function<void()>& work);

// Length, header and data as one file.
std::string safetensors_bytes(const std::string& header, const std::string& data);

// Appends numbers and texts as GGUF has them.
class GgufBytes {
 public:
  explicit GgufBytes(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3);
  template <class T>
  GgufBytes& number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  GgufBytes& text(const std::string& text);
  GgufBytes& key(const std::string& name, std::uint32_t type) { return text(name).number(type); }
  // A tensor's description; dims as in the file, innermost first.
  GgufBytes& tensor(const std::string& name, const std::vector<std::int64_t>& dims,
                    std::uint32_t type, std::int64_t offset);
  // Zeros up to a multiple of 32, then so many bytes.
  std::string with_data(std::size_t bytes) const;
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// A path of a new file with this content and this end of its name.
std::string new_file(const std::string& content, const std::string& extension);

std::uint32_t crc32(const void* data, std::size_t bytes);

// A tensor as a whole.
template <class T>
std::vector<T> read_whole(const ForeignWeights& weights, const ForeignWeights::Entry& entry) {
  std::vector<T> values(static_cast<std::size_t>(entry.shape.numel()));
  weights.read({entry.name,
                entry.shape,
                {},
                {reinterpret_cast<std::byte*>(values.data()), entry.shape, dtype_of<T>(), {}}});
  return values;
}

// Names, shapes and elements as float32 are those of a golden's file.
void expect_golden(const ForeignWeights& weights, const std::string& expected_json);

}  // namespace frugal::test
