#include "trainer/metrics/event_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "trainer/metrics/crc32c.h"
#include "trainer/metrics/event.pb.h"

namespace frugal {
namespace {

// Takes a file apart again, checking every length and checksum.
std::vector<tensorboard::Event> read_events(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::vector<tensorboard::Event> events;
  std::size_t at = 0;
  const auto number = [&]<class T>(T value) {
    std::memcpy(&value, bytes.data() + at, sizeof value);
    at += sizeof value;
    return value;
  };
  while (at + 16 <= bytes.size()) {
    const std::size_t head = at;
    const auto length = number(std::uint64_t{});
    EXPECT_EQ(number(std::uint32_t{}), masked_crc32c({bytes.data() + head, 8}));
    if (length > bytes.size() - at - 4) break;
    const std::string payload = bytes.substr(at, length);
    at += length;
    EXPECT_EQ(number(std::uint32_t{}), masked_crc32c(payload));
    EXPECT_TRUE(events.emplace_back().ParseFromString(payload));
  }
  EXPECT_EQ(at, bytes.size());
  return events;
}

TEST(Crc32c, KnownVectors) {
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  std::string rising;
  for (int i = 0; i < 32; ++i) rising.push_back(static_cast<char>(i));
  EXPECT_EQ(crc32c(rising), 0x46dd794eU);
}

TEST(Crc32c, MaskRotatesAndAdds) {
  // 0xe3069283 rotated right by 15 is 0x2507c60d.
  EXPECT_EQ(masked_crc32c("123456789"), 0x2507c60dU + 0xa282ead8U);
}

TEST(EventFile, FramesARecord) {
  const std::string record = frame_record("123456789");
  ASSERT_EQ(record.size(), 8U + 4 + 9 + 4);
  EXPECT_EQ(record.substr(0, 8), std::string("\x09\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(record.substr(12, 9), "123456789");
  EXPECT_EQ(record.substr(21), std::string("\xe5\xb0\x8a\xc7", 4));  // 0xc78ab0e5, little endian
}

TEST(EventFile, HoldsWhatWasWritten) {
  const std::string folder = testing::TempDir() + "frugal_event_file_test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  EventFile file(folder, 101);
  const EventScalar values[] = {{"train/loss", 3.25F}, {"train/mfu", 0.5F}};
  file.scalars(101, values);
  file.text(102, "samples/0", "Am Anfang");

  const auto events = read_events(file.path());
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_EQ(events[1].session_log().status(), tensorboard::SessionLog::START);
  EXPECT_EQ(events[1].step(), 101);
  ASSERT_EQ(events[2].summary().value_size(), 2);
  EXPECT_EQ(events[2].step(), 101);
  EXPECT_GT(events[2].wall_time(), 1.6e9);
  EXPECT_EQ(events[2].summary().value(0).tag(), "train/loss");
  EXPECT_EQ(events[2].summary().value(0).simple_value(), 3.25F);
  EXPECT_EQ(events[2].summary().value(1).tag(), "train/mfu");
  const auto& text = events[3].summary().value(0);
  EXPECT_EQ(text.metadata().plugin_data().plugin_name(), "text");
  EXPECT_EQ(text.tensor().string_val(0), "Am Anfang");

  EXPECT_NE(EventFile(folder, 1).path(), file.path()) << "a second file in the same second";
}

}  // namespace
}  // namespace frugal
