// TensorBoard event files: records of Protocol Buffers. The byte format is in README.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "trainer/metrics/appended_file.h"

namespace frugal {

namespace tensorboard {
class Event;
}

struct EventScalar {
  std::string_view tag;
  float value = 0;
};

// One new event file in a folder; every record is on its way to the disk when its call returns,
// unless that is full. Used by one thread. Throws Error(kData) where it cannot be opened.
class EventFile {
 public:
  // first_step: where this process begins; TensorBoard drops what older files of the folder say
  // about that step and later ones.
  EventFile(const std::string& directory, std::int64_t first_step);

  // One record with all values.
  void scalars(std::int64_t step, std::span<const EventScalar> values);
  // text is Markdown in valid UTF-8.
  void text(std::int64_t step, std::string_view tag, std::string_view text);

  const std::string& path() const { return file_.path(); }
  const AppendedFile& file() const { return file_; }

 private:
  void write(std::int64_t step, tensorboard::Event& event);

  AppendedFile file_;
};

// length, masked checksum of length, payload, masked checksum of payload.
std::string frame_record(std::string_view payload);

}  // namespace frugal
