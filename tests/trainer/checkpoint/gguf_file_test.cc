#include "trainer/checkpoint/gguf_file.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/trainer/checkpoint/allocations.h"
#include "tests/trainer/checkpoint/foreign_files.h"
#include "tests/trainer/checkpoint/saved_model.h"
#include "trainer/checkpoint/element_reader.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kText = 8, kArray = 9, kU8 = 0, kU32 = 4, kBool = 7;  // types of values

GgufContent read(const std::string& bytes) {
  const std::string path = new_file(bytes, ".gguf");
  const StoredFile file(path);
  GgufContent content = read_gguf(file, path);
  fs::remove(path);
  return content;
}

// The content must be refused for `why`, without an allocation beyond what the file holds.
void expect_refused(const std::string& bytes, const std::string& why) {
  const std::string path = new_file(bytes, ".gguf");
  const LargestAllocation largest;
  const std::string said = refusal([&] { read_gguf(StoredFile(path), path); });
  EXPECT_NE(said.find(why), std::string::npos) << said;
  EXPECT_LT(largest.bytes(), (std::size_t{1} << 17) + 64 * bytes.size()) << why;
  fs::remove(path);
}

template <class T>
T value_of(const GgufContent& content, const std::string& key) {
  const auto found = content.metadata.find(key);
  EXPECT_NE(found, content.metadata.end()) << key;
  return std::get<T>(found->second.value);
}

TEST(Gguf, EveryTypeOfValueAndTensorAsTheReferenceWritesIt) {
  const std::string path = golden("types.gguf");
  const StoredFile file(path);
  const GgufContent content = read_gguf(file, path);
  EXPECT_EQ(value_of<std::int64_t>(content, "general.alignment"), 64);
  for (const int bits : {8, 16, 32, 64}) {
    const std::int64_t top = std::int64_t{1} << (bits - 2);
    EXPECT_EQ(value_of<std::int64_t>(content, concat("test.u", bits)),
              bits < 64 ? 2 * top + 1 : top);
    EXPECT_EQ(value_of<std::int64_t>(content, concat("test.i", bits)), -2 * top);
  }
  EXPECT_EQ(value_of<double>(content, "test.f32"), double{1.5e-5F});
  EXPECT_EQ(value_of<double>(content, "test.f64"), -0.1);
  EXPECT_EQ(value_of<bool>(content, "test.bool"), true);
  EXPECT_EQ(value_of<std::string>(content, "test.string"), "\u00e9\n");
  EXPECT_EQ(value_of<GgufValue::Texts>(content, "test.strings"),
            (GgufValue::Texts{"", "a", "\u4e2d"}));
  EXPECT_EQ(value_of<GgufValue::Floats>(content, "test.floats"), (GgufValue::Floats{0.5, -1.25}));
  EXPECT_EQ(value_of<GgufValue::Integers>(content, "test.ints"), (GgufValue::Integers{3, -1, 2}));
  EXPECT_EQ(value_of<GgufValue::Integers>(content, "test.bools"), (GgufValue::Integers{1, 0}));

  const auto expected = nlohmann::json::parse(read_bytes(golden("types.json")));
  ASSERT_EQ(content.tensors.size(), expected.size());
  for (const ForeignTensor& tensor : content.tensors) {
    ASSERT_EQ(expected[tensor.name]["shape"], tensor.shape) << tensor.name;
    const std::int64_t count = elements_of(tensor.shape).value();
    std::vector<float> values(static_cast<std::size_t>(count));
    ElementReader reader(file, tensor);
    reader.read(0, count, DType::kF32, reinterpret_cast<std::byte*>(values.data()));
    EXPECT_EQ(crc32(values.data(), values.size() * 4), expected[tensor.name]["crc32"])
        << tensor.name;
    // Any run of it is the same numbers.
    for (std::int64_t first = 0; first < count; first += 5) {
      for (const std::int64_t run : {std::int64_t{1}, std::int64_t{31}, std::int64_t{40}}) {
        std::vector<float> some(static_cast<std::size_t>(std::min(run, count - first)));
        reader.read(first, static_cast<std::int64_t>(some.size()), DType::kF32,
                    reinterpret_cast<std::byte*>(some.data()));
        ASSERT_TRUE(std::equal(some.begin(), some.end(), values.begin() + first)) << tensor.name;
      }
    }
  }
}

TEST(Gguf, EveryTruncationAndExtensionIsFound) {
  const std::string whole = read_bytes(golden("types.gguf"));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string path = new_file(whole.substr(0, size), ".gguf");
    const std::string said = refusal([&] { read_gguf(StoredFile(path), path); });
    // The reference pads the last tensor, of 240 bytes; that may be missing.
    ASSERT_EQ(said.empty(), size == whole.size() - 16) << size << ": " << said;
    fs::remove(path);
  }
  expect_refused(whole + '\0', "bytes of data, its tensors need");
}

TEST(Gguf, VersionsAndFormats) {
  EXPECT_TRUE(read(GgufBytes(0, 0, 2).bytes()).tensors.empty());
  EXPECT_TRUE(read(GgufBytes(0, 0, 3).bytes()).tensors.empty());
  expect_refused(GgufBytes(0, 0, 1).bytes(), "GGUF of version 1");
  expect_refused(GgufBytes(0, 0, 4).bytes(), "GGUF of version 4");
  expect_refused(GgufBytes(0, 0, 3U << 24).bytes(), "(big-endian)");
  expect_refused("GGML" + GgufBytes(0, 0).bytes().substr(4), "not a GGUF file");
  expect_refused("GG", "ends inside its metadata");
}

TEST(Gguf, AbsurdCountsAndLengths) {
  expect_refused(GgufBytes(kMaxForeignTensors + 1, 0).bytes(), "tensors, at most 1048576");
  expect_refused(GgufBytes(kMaxForeignTensors, 0).bytes(), "ends inside its metadata");
  expect_refused(GgufBytes(UINT64_MAX, 0).bytes(), "tensors, at most");
  expect_refused(GgufBytes(0, kMaxGgufKeys + 1).bytes(), "keys, at most 65536");
  expect_refused(GgufBytes(0, kMaxGgufKeys).bytes(), "ends inside its metadata");
  for (const std::uint64_t length : {kMaxGgufKeyBytes + 1, UINT64_MAX}) {
    expect_refused(GgufBytes(0, 1).number(length).bytes(), "a key of");
  }
  expect_refused(GgufBytes(0, 1).number(kMaxGgufKeyBytes).bytes(), "ends inside its metadata");
  for (const std::uint64_t length : {kMaxGgufTextBytes + 1, UINT64_MAX}) {
    expect_refused(GgufBytes(0, 1).key("a", kText).number(length).bytes(), "key a: a text of");
  }
  expect_refused(GgufBytes(0, 1).key("a", kText).number(kMaxGgufTextBytes).bytes(),
                 "ends inside its metadata");
  for (const std::uint64_t length : {kMaxGgufArray + 1, UINT64_MAX}) {
    expect_refused(GgufBytes(0, 1).key("a", kArray).number(kU8).number(length).bytes(),
                   "key a: an array of");
  }
  for (const std::uint32_t type : {kU8, kU32, kText, kArray}) {
    expect_refused(GgufBytes(0, 1).key("a", kArray).number(type).number(kMaxGgufArray).bytes(),
                   "ends inside its metadata");
  }
  // Texts of the greatest length until the header's limit; the file has a hole.
  const std::string path = new_file(GgufBytes(0, 9).bytes(), ".gguf");
  fs::resize_file(path, std::uint64_t{1} << 30);
  EXPECT_NE(refusal([&] { read_gguf(StoredFile(path), path); }).find("a key is not"),
            std::string::npos);
  GgufBytes many(0, 5);
  for (int i = 0; i < 5; ++i)
    many.key(concat("k", i), kText).text(std::string(kMaxGgufTextBytes, 'x'));
  write_bytes(path, many.bytes());
  EXPECT_NE(refusal([&] {
              read_gguf(StoredFile(path), path);
            }).find("metadata of more than 67108864 bytes"),
            std::string::npos);
}

TEST(Gguf, KeysAndValues) {
  expect_refused(GgufBytes(0, 1).key("", kU8).number('x').bytes(), "not printable");
  expect_refused(GgufBytes(0, 1).key("a\n", kU8).number('x').bytes(), "not printable");
  expect_refused(GgufBytes(0, 2).key("a", kU8).number('x').key("a", kU8).number('x').bytes(),
                 "key a occurs twice");
  expect_refused(GgufBytes(0, 1).key("a", 13).bytes(), "unknown type 13");
  expect_refused(GgufBytes(0, 1).key("a", kArray).number(13).number(std::uint64_t{0}).bytes(),
                 "unknown type 13");
  expect_refused(GgufBytes(0, 1).key("a", kBool).number(std::uint8_t{2}).bytes(),
                 "a truth value of 2");
  for (const std::int64_t alignment : {0, 3, 48, 1 << 21}) {
    expect_refused(GgufBytes(0, 1)
                       .key("general.alignment", kU32)
                       .number(static_cast<std::uint32_t>(alignment))
                       .bytes(),
                   "general.alignment is no power of two");
  }
  expect_refused(GgufBytes(0, 1).key("general.alignment", kText).text("32").bytes(),
                 "general.alignment is no power of two");
}

TEST(Gguf, NestedArraysAreReadToTheLimitAndNotKept) {
  const auto nested = [](int depth, std::uint64_t innermost) {
    GgufBytes bytes(0, 2);
    bytes.key("a", kArray);
    for (int i = 1; i < depth; ++i) bytes.number(kArray).number(std::uint64_t{1});
    bytes.number(kU8).number(innermost);
    for (std::uint64_t i = 0; i < innermost; ++i) bytes.number('x');
    return bytes.key("b", kU8).number('x').bytes();
  };
  for (int depth = 2; depth <= static_cast<int>(kMaxGgufDepth); ++depth) {
    const GgufContent content = read(nested(depth, 3));
    EXPECT_EQ(content.metadata.at("a").value.index(), 0U);
    EXPECT_EQ(value_of<std::int64_t>(content, "b"), 'x');
  }
  expect_refused(nested(kMaxGgufDepth + 1, 3), "arrays of more than 4 levels");
  expect_refused(nested(100000, 3), "arrays of more than 4 levels");
  expect_refused(nested(3, 1000).substr(0, 100), "ends inside its metadata");
}

TEST(Gguf, TensorsThatLie) {
  const auto one = [](const std::vector<std::int64_t>& dims, std::uint32_t type,
                      std::int64_t offset, std::size_t bytes) {
    return GgufBytes(1, 0).tensor("a", dims, type, offset).with_data(bytes);
  };
  const auto good = read(one({32, 3}, 8, 0, 102)).tensors;  // Q8_0
  ASSERT_EQ(good.size(), 1U);
  EXPECT_EQ(good[0].shape, (std::vector<std::int64_t>{3, 32}));
  EXPECT_EQ(good[0].bytes, 102);
  EXPECT_EQ(read(one({256}, 12, 0, 144)).tensors[0].element, std::nullopt);  // Q4_K: known
  expect_refused(one({32, 3}, 8, 0, 101), "ends inside tensor a");
  expect_refused(one({32, 3}, 8, 0, 103), "has 103 bytes of data, its tensors need 102");
  expect_refused(one({33, 3}, 8, 0, 102), "impossible sizes for Q8_0");
  expect_refused(one({32}, 4, 0, 0), "unknown type 4");
  expect_refused(one({1}, 0, 32, 36), "begins at byte 32 of the data, expected 0");
  expect_refused(one({1}, 0, -32, 4), "expected 0");
  expect_refused(one({1, 1, 1, 1, 1}, 0, 0, 4), "5 dimensions, at most 4");
  expect_refused(one({-1}, 0, 0, 4), "impossible sizes");
  expect_refused(one({INT64_MAX, INT64_MAX}, 0, 0, 4), "impossible sizes");
  expect_refused(one({std::int64_t{1} << 56}, 28, 0, 4), "ends inside tensor a");
  expect_refused(GgufBytes(1, 0).tensor("a b", {1}, 0, 0).with_data(4), "invalid name");
  expect_refused(GgufBytes(1, 0).number(kMaxForeignNameBytes + 1).with_data(64), "name of 513");
  const auto two = [](const std::string& second, std::int64_t offset) {
    return GgufBytes(2, 0).tensor("a", {1}, 0, 0).tensor(second, {1}, 0, offset).with_data(36);
  };
  EXPECT_EQ(read(two("b", 32)).tensors.size(), 2U);
  expect_refused(two("a", 32), "tensor a occurs twice");
  expect_refused(two("b", 0), "tensor b begins at byte 0 of the data, expected 32");
  expect_refused(two("b", 4), "expected 32");
}

TEST(Gguf, WhatIsWrittenIsReadBack) {
  const GgufMetadata metadata = {{"a.text", GgufValue::text("x")},
                                 {"b.number", GgufValue::u32(7)},
                                 {"c.float", GgufValue::f32(0.5)},
                                 {"d.truth", GgufValue::boolean(true)},
                                 {"e.texts", GgufValue::texts({"", "\u4e2d"})},
                                 {"f.numbers", GgufValue::i32s({-1, 2})}};
  const std::vector<GgufTensor> tensors = {{"one", ElementType::kQ8_0, {3, 64}},
                                           {"two", ElementType::kBF16, {5}},
                                           {"three", ElementType::kF16, {2, 2}},
                                           {"four", ElementType::kF32, {1}}};
  std::string bytes = gguf_header(metadata, tensors);
  for (const std::int64_t size : {204, 10, 8, 4}) {
    bytes.append(static_cast<std::size_t>(size + gguf_padding(size)), '\1');
  }
  const GgufContent content = read(bytes);
  for (const auto& [key, value] : metadata) {
    EXPECT_EQ(content.metadata.at(key).type, value.type) << key;
    EXPECT_EQ(content.metadata.at(key).value, value.value) << key;
  }
  ASSERT_EQ(content.tensors.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(content.tensors[i].name, tensors[i].name);
    EXPECT_EQ(content.tensors[i].element, tensors[i].element);
    EXPECT_EQ(content.tensors[i].shape, tensors[i].shape);
  }
}

}  // namespace
}  // namespace frugal::test
