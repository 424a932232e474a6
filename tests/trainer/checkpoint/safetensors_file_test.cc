#include "trainer/checkpoint/safetensors_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/trainer/checkpoint/allocations.h"
#include "tests/trainer/checkpoint/foreign_files.h"
#include "tests/trainer/checkpoint/saved_model.h"
#include "trainer/checkpoint/json_text.h"
#include "trainer/checkpoint/peft_adapter.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape +
         "],\"data_offsets\":[" + offsets + "]}";
}
std::string object(const std::string& members) {
  return "{" + members + "}";
}

std::string header_refusal(const std::string& header, std::int64_t data_bytes) {
  return refusal([&] { parse_safetensors_header(header, data_bytes, "file"); });
}

void expect_refused(const std::string& header, std::int64_t data_bytes, const std::string& why) {
  const std::string said = header_refusal(header, data_bytes);
  EXPECT_NE(said.find(why), std::string::npos) << header << "\n" << said;
}

TEST(SafetensorsHeader, GoodOnes) {
  EXPECT_TRUE(parse_safetensors_header("{}", 0, "file").empty());
  const auto tensors = parse_safetensors_header(
      object(R"("__metadata__":{"format":"pt"},)" + tensor("b", "F32", "2,3", "4,28") + "," +
             tensor("none", "I64", "0,7", "4,4") + "," +
             tensor("a", "BF16", "2,1,1,1,1,1,1,1", "0,4")) +
          "   ",
      28, "file");
  ASSERT_EQ(tensors.size(), 3U);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].element, ElementType::kBF16);
  EXPECT_EQ(tensors[1].name, "none");
  EXPECT_EQ(tensors[1].element, std::nullopt);
  EXPECT_EQ(tensors[2].name, "b");
  EXPECT_EQ(tensors[2].position, 4);
  EXPECT_EQ(tensors[2].bytes, 24);
  EXPECT_EQ(tensors[2].shape, (std::vector<std::int64_t>{2, 3}));
}

TEST(SafetensorsHeader, WhatIsNoHeader) {
  expect_refused("", 0, "does not begin with '{'");
  expect_refused(" {}", 0, "does not begin with '{'");
  expect_refused("[]", 0, "does not begin with '{'");
  expect_refused("{", 0, "not JSON");
  expect_refused("{} x", 0, "not JSON");
  expect_refused("{\"a\":\"\xff\"}", 0, "not JSON");
  expect_refused(object("\"a\":1"), 0, "has not exactly");
  expect_refused(object(R"("__metadata__":{"a":1})"), 0, "not an object of texts");
  expect_refused(object(R"("__metadata__":[])"), 0, "not an object of texts");
  expect_refused(object(R"("a":{"dtype":"F32","shape":[1]})"), 4, "has not exactly");
  expect_refused(object(R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})"), 4,
                 "has not exactly");
  expect_refused(object(R"("a":{"dtype":7,"shape":[1],"data_offsets":[0,4]})"), 4,
                 "has not exactly");
  expect_refused(object(R"("a":{"b":{"c":{"d":{}}}})"), 0, "more than 4 levels");
}

TEST(SafetensorsHeader, NamesThatOccurTwiceOrAreNone) {
  const std::string a = tensor("a", "U8", "1", "0,1");
  expect_refused(object(a + "," + a), 1, "\"a\" occurs twice");
  expect_refused(object(R"("a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]})"), 1,
                 "\"dtype\" occurs twice");
  for (const std::string& name : {std::string(), std::string("a b"), std::string(513, 'a'),
                                  std::string("a\\u0001"), std::string("\u00e9")}) {
    expect_refused(object(tensor(name, "U8", "1", "0,1")), 1, "invalid name");
  }
  EXPECT_EQ(header_refusal(object(tensor(std::string(512, 'a'), "U8", "1", "0,1")), 1), "");
}

TEST(SafetensorsHeader, SizesThatLie) {
  expect_refused(object(tensor("a", "F33", "1", "0,4")), 4, "unknown dtype");
  expect_refused(object(tensor("a", "F32", "1", "0,8")), 8, "which its shape and F32 do not need");
  expect_refused(object(tensor("a", "F32", "2", "0,4")), 4, "do not need");
  for (const char* shape : {"-1", "1.0", "18446744073709551615", "9223372036854775808", "null",
                            "\"1\"", "1,1,1,1,1,1,1,1,1"}) {
    expect_refused(object(tensor("a", "U8", shape, "0,1")), 1, "has no shape of at most 8");
  }
  for (const char* shape : {"9223372036854775807", "4294967296,4294967296", "72057594037927937",
                            "0,9223372036854775807,9223372036854775807"}) {
    expect_refused(object(tensor("a", "U8", shape, "0,1")), 1, "do not need");
  }
  for (const char* offsets : {"0", "0,1,2", "1,0", "-1,0", "0,18446744073709551616"}) {
    expect_refused(object(tensor("a", "U8", "1", offsets)), 1, "not two positions");
  }
}

TEST(SafetensorsHeader, TensorsThatOverlapLeaveGapsOrDoNotFillTheFile) {
  const auto two = [](const std::string& a, const std::string& b) {
    return object(tensor("a", "U8", "4", a) + "," + tensor("b", "U8", "4", b));
  };
  EXPECT_EQ(header_refusal(two("0,4", "4,8"), 8), "");
  EXPECT_EQ(header_refusal(two("4,8", "0,4"), 8), "");
  expect_refused(two("0,4", "0,4"), 8, "overlap or leave a gap");
  expect_refused(two("0,4", "3,7"), 8, "tensor b begins at byte 3 of the data, expected 4");
  expect_refused(two("0,4", "5,9"), 9, "expected 4");
  expect_refused(two("1,5", "5,9"), 9, "tensor a begins at byte 1 of the data, expected 0");
  expect_refused(two("0,4", "4,8"), 9, "has 9 bytes of data, its header describes 8");
  expect_refused("{}", 1, "describes 0");
  // The first tensor alone does not say how much is missing.
  expect_refused(two("0,4", "4,8"), 3,
                 "file: is cut short: it has 3 bytes of data, its header describes 8");
  expect_refused(object(tensor("a", "U8", "9223372036854775807", "0,9223372036854775807")), 3,
                 "do not need");
  expect_refused(object(tensor("a", "U8", "72057594037927936", "0,72057594037927936")), 3,
                 "is cut short");
}

TEST(SafetensorsFile, EveryTruncationIsFoundBeforeAnythingIsAllocated) {
  const std::string whole =
      safetensors_bytes(object(tensor("a", "F32", "300", "0,1200")), std::string(1200, 'x'));
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    const std::string path = new_file(whole.substr(0, size), "");
    const LargestAllocation largest;
    const std::string said = refusal([&] { read_safetensors(StoredFile(path), path); });
    ASSERT_EQ(said.empty(), size == whole.size()) << size;
    ASSERT_LT(largest.bytes(), 20000U);
    fs::remove(path);
  }
}

TEST(SafetensorsFile, HeaderLengthsThatLie) {
  for (const std::uint64_t length : {std::uint64_t{3}, std::uint64_t{100'000'001}, UINT64_MAX}) {
    std::string bytes = safetensors_bytes("{}", "");
    bytes.replace(0, 8, reinterpret_cast<const char*>(&length), 8);
    const std::string path = new_file(bytes, "");
    const LargestAllocation largest;
    const std::string said = refusal([&] { read_safetensors(StoredFile(path), path); });
    EXPECT_NE(said.find("at most 2 are possible"), std::string::npos) << said;
    EXPECT_LT(largest.bytes(), 1U << 16);
  }
  // The limit itself, in a file with a hole: 100 MB are read and are no JSON, one more is not read.
  const std::string path = new_file(safetensors_bytes("{", ""), "");
  fs::resize_file(path, 200'000'000);
  for (const std::uint64_t length : {std::uint64_t{100'000'000}, std::uint64_t{100'000'001}}) {
    std::fstream(path, std::ios::binary | std::ios::in | std::ios::out)
        .write(reinterpret_cast<const char*>(&length), 8);
    const std::string said = refusal([&] { read_safetensors(StoredFile(path), path); });
    const std::string why = length == 100'000'000 ? "not JSON" : "at most 100000000 are possible";
    EXPECT_NE(said.find(why), std::string::npos) << said;
  }
}

TEST(JsonText, LimitsAtTheLimit) {
  const auto said = [](const std::string& text, JsonLimits limits) {
    return refusal([&] { parse_json_object(text, "text", limits); });
  };
  EXPECT_EQ(said(R"({"a":[[1]]})", {.depth = 3}), "");
  EXPECT_NE(said(R"({"a":[[[1]]]})", {.depth = 3}), "");
  EXPECT_NE(said(R"({"a":{"b":{"c":{}}}})", {.depth = 3}), "");
  EXPECT_EQ(said(R"({"a":[1,2],"b":[1,2]})", {.values = 3}), "");
  EXPECT_NE(said(R"({"a":[1,2,3]})", {.values = 3}).find("'a' has more than 3 values"),
            std::string::npos);
  EXPECT_NE(said(R"({"a":{"b":1,"b":2}})", {}).find("\"b\" occurs twice"), std::string::npos);
  EXPECT_EQ(said(R"({"a":{"b":1},"b":{"b":1}})", {}), "");
  EXPECT_NE(said("1", {}).find("not a JSON object"), std::string::npos);
  EXPECT_NE(said("[{}]", {}).find("not a JSON object"), std::string::npos);
  EXPECT_NE(said(std::string(100000, '['), {}), "");
  EXPECT_EQ(parse_json_object(R"({"a":[1,-2,0.5,null,true,"x",{"b":[]}]})", "text", {}),
            nlohmann::json::parse(R"({"a":[1,-2,0.5,null,true,"x",{"b":[]}]})"));
}

class Folder : public testing::Test {
 protected:
  Folder() {
    fs::create_directories(path_);
    for (const auto& entry : fs::directory_iterator(golden("qwen2"))) {
      fs::copy(entry.path(), path_);
    }
    EXPECT_EQ(open_refusal(), "");
  }

  std::string open_refusal() const {
    return refusal([&] { open_safetensors_folder(path_); });
  }
  // Replaces text in the index: the first occurrence.
  void edit_index(const std::string& from, const std::string& to) const {
    std::string text = read_bytes(index_);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    write_bytes(index_, text.replace(at, from.size(), to));
  }
  void expect_refused(const std::string& why) {
    const std::string said = open_refusal();
    EXPECT_NE(said.find(why), std::string::npos) << said;
    write_bytes(index_, read_bytes(golden("qwen2/model.safetensors.index.json")));
  }

  const std::string path_ = fresh_root();
  const std::string index_ = path_ + "/model.safetensors.index.json";
  const std::string shard_ = path_ + "/model-00002-of-00003.safetensors";
};

TEST_F(Folder, AnIndexMayOnlyNameFilesOfTheFolder) {
  const std::string name = "\"model-00001-of-00003.safetensors\"";
  fs::copy(path_ + "/model-00001-of-00003.safetensors", path_ + "/../outside.safetensors",
           fs::copy_options::overwrite_existing);
  for (const std::string& bad :
       {std::string("\"../outside.safetensors\""), std::string("\"/etc/passwd\""),
        std::string("\"./model-00001-of-00003.safetensors\""), std::string("\"..\""),
        std::string("\".\""), std::string("\"\""), std::string("\"a\\u0000b\""),
        std::string("\"a\\\\b\""), std::string("7"), "\"" + std::string(256, 'a') + "\""}) {
    edit_index(name, bad);
    expect_refused("is not the plain name of a file in this folder");
  }
}

TEST_F(Folder, ShardsMustExistAndBeFiles) {
  fs::rename(shard_, path_ + "/aside");
  expect_refused("model-00002-of-00003.safetensors: cannot open: No such file");
  fs::create_symlink("nothing", shard_);
  expect_refused("model-00002-of-00003.safetensors: cannot open: No such file");
  fs::remove(shard_);
  fs::create_symlink("/dev/zero", shard_);
  expect_refused("model-00002-of-00003.safetensors: not a regular file");
  fs::remove(shard_);
  fs::create_symlink(fs::path(shard_).filename(), shard_);
  expect_refused("cannot open: Too many levels of symbolic links");
  fs::remove(shard_);
  fs::create_directory(shard_);
  expect_refused("not a regular file");
}

// As a hub's cache has it: every file is a link to one that is named by its content.
TEST_F(Folder, LinksToFilesAreFollowed) {
  const fs::path blobs = fresh_root();
  fs::create_directories(blobs);
  int number = 0;
  for (const auto& entry : fs::directory_iterator(path_)) {
    const fs::path blob = blobs / std::to_string(number++);
    fs::rename(entry.path(), blob);
    fs::create_symlink(fs::relative(blob, path_), entry.path());
  }
  EXPECT_EQ(open_refusal(), "");
  const auto linked = ForeignWeights::open(path_);
  expect_golden(*linked, golden("qwen2/expected.json"));
  const std::string adapter = fresh_root();
  fs::create_directories(adapter);
  for (const auto& entry : fs::directory_iterator(golden("../lora/llama3"))) {
    fs::create_symlink(entry.path(), fs::path(adapter) / entry.path().filename());
  }
  EXPECT_EQ(PeftAdapter::open(adapter)->folder(), adapter);
  // Our own files are never links.
  const std::string why = refusal([&] { StoredFile file(shard_); });
  EXPECT_NE(why.find("symbolic links are not followed here"), std::string::npos) << why;
}

TEST_F(Folder, TensorsMustBeWhereTheIndexSays) {
  const std::string tensor = "\"model.norm.weight\": \"model-0000";
  edit_index(tensor + "3", tensor + "1");
  expect_refused("tensor model.norm.weight is not in model-00001-of-00003.safetensors");
  edit_index("model.norm.weight", "model.norm.other");
  expect_refused("tensor model.norm.other is not in model-00003-of-00003.safetensors");
  edit_index(tensor + "3-of-00003.safetensors\"", "\"x\": \"model-00003-of-00003.safetensors\"");
  expect_refused("also holds tensor model.norm.weight");
}

TEST_F(Folder, WhatIsNoIndex) {
  write_bytes(index_, "{}");
  expect_refused("has no object weight_map");
  write_bytes(index_, R"({"weight_map":[]})");
  expect_refused("has no object weight_map");
  edit_index("\"model.norm.weight\"", "\"model.embed_tokens.weight\"");
  expect_refused("occurs twice");
  fs::resize_file(index_, kMaxIndexBytes + 1);
  expect_refused("more than 67108864");
  fs::copy(golden("gpt2/model.safetensors"), path_);
  expect_refused("holds both");
  fs::remove(path_ + "/model.safetensors");
  fs::remove(index_);
  EXPECT_NE(open_refusal().find("holds neither model.safetensors nor"), std::string::npos);
}

}  // namespace
}  // namespace frugal::test
