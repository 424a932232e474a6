#include "trainer/metrics/event_file.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>

#include "fmt/format.h"
#include "trainer/metrics/crc32c.h"
#include "trainer/metrics/event.pb.h"

namespace frugal {
namespace {

void append_little_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

double wall_time_seconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// TensorBoard reads the files of a folder in the order of their names, so the time comes first; the
// last number tells apart files that one process opens within a second.
std::string new_path(const std::string& directory) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const auto seconds = static_cast<std::int64_t>(wall_time_seconds());
  for (int n = 0;; ++n) {
    std::string path = fmt::format("{}/events.out.tfevents.{:010d}.{}.{}.{}", directory, seconds,
                                   host.data(), getpid(), n);
    if (!std::filesystem::exists(path)) return path;
  }
}

}  // namespace

std::string frame_record(std::string_view payload) {
  std::string record;
  append_little_endian(record, payload.size(), 8);
  append_little_endian(record, masked_crc32c(record), 4);
  record += payload;
  append_little_endian(record, masked_crc32c(payload), 4);
  return record;
}

EventFile::EventFile(const std::string& directory, std::int64_t first_step)
    : file_(new_path(directory)) {
  tensorboard::Event version;
  version.set_file_version("brain.Event:2");
  write(0, version);
  tensorboard::Event start;
  start.mutable_session_log()->set_status(tensorboard::SessionLog::START);
  write(first_step, start);
}

void EventFile::scalars(std::int64_t step, std::span<const EventScalar> values) {
  tensorboard::Event event;
  for (const EventScalar& scalar : values) {
    auto* value = event.mutable_summary()->add_value();
    value->set_tag(std::string(scalar.tag));
    value->set_simple_value(scalar.value);
  }
  write(step, event);
}

void EventFile::text(std::int64_t step, std::string_view tag, std::string_view text) {
  tensorboard::Event event;
  auto* value = event.mutable_summary()->add_value();
  value->set_tag(std::string(tag));
  value->mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
  auto* tensor = value->mutable_tensor();
  tensor->set_dtype(tensorboard::TensorProto::DT_STRING);
  tensor->mutable_tensor_shape()->add_dim()->set_size(1);
  tensor->add_string_val(std::string(text));
  write(step, event);
}

void EventFile::write(std::int64_t step, tensorboard::Event& event) {
  event.set_wall_time(wall_time_seconds());
  event.set_step(step);
  file_.append(frame_record(event.SerializeAsString()));
}

}  // namespace frugal
