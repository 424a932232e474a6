#include "tests/trainer/checkpoint/foreign_files.h"

#include <gtest/gtest.h>

#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/saved_model.h"

namespace frugal::test {

std::string golden(const std::string& name) {
  return std::string(FRUGAL_GOLDEN_DIR) + "/foreign/" + name;
}

std::string refusal(const std::function<void()>& work) {
  try {
    work();
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
    return error.what();
  }
}

std::string safetensors_bytes(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

GgufBytes::GgufBytes(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version) {
  bytes_ = "GGUF";
  number(version).number(tensors).number(keys);
}

GgufBytes& GgufBytes::text(const std::string& text) {
  number(std::uint64_t{text.size()});
  bytes_ += text;
  return *this;
}

GgufBytes& GgufBytes::tensor(const std::string& name, const std::vector<std::int64_t>& dims,
                             std::uint32_t type, std::int64_t offset) {
  text(name).number(static_cast<std::uint32_t>(dims.size()));
  for (const std::int64_t size : dims) number(size);
  return number(type).number(offset);
}

std::string GgufBytes::with_data(std::size_t bytes) const {
  return bytes_ + std::string((32 - bytes_.size() % 32) % 32 + bytes, '\0');
}

std::string new_file(const std::string& content, const std::string& extension) {
  std::string path = fresh_root() + extension;
  write_bytes(path, content);
  return path;
}

std::uint32_t crc32(const void* data, std::size_t bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (std::size_t i = 0; i < bytes; ++i) {
    crc ^= static_cast<const std::uint8_t*>(data)[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1U) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

void expect_golden(const ForeignWeights& weights, const std::string& expected_json) {
  const auto expected = nlohmann::json::parse(read_bytes(expected_json));
  const auto entries = weights.tensors();
  EXPECT_EQ(entries.size(), expected.size());
  for (const ForeignWeights::Entry& entry : entries) {
    ASSERT_TRUE(expected.contains(entry.name)) << entry.name;
    const auto& golden = expected[entry.name];
    std::vector<std::int64_t> shape(entry.shape.dim.begin(),
                                    entry.shape.dim.begin() + entry.shape.rank);
    ASSERT_EQ(golden["shape"], shape) << entry.name;
    const auto values = read_whole<float>(weights, entry);
    EXPECT_EQ(crc32(values.data(), values.size() * sizeof(float)), golden["crc32"]) << entry.name;
  }
}

}  // namespace frugal::test
