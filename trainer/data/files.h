// Files that are read whole by mapping them, and files that are whole or absent after a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace frugal {

// A regular file mapped read-only. The file must not change while it is mapped.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);  // throws Error(kData) with the system's reason
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  const std::string& path() const { return path_; }
  std::string_view text() const { return {data_, size_}; }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(data_, size_)); }

 private:
  std::string path_;
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

// A new file, written in order. Every failure throws Error(kData) with the system's reason.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> bytes);
  void overwrite_start(std::span<const std::byte> bytes);  // a header whose content is known last
  void finish();                                           // on the disk after this

 private:
  std::string path_;
  int file_ = -1;
};

// Makes a folder and those above it, where they are missing. Throws Error(kData).
void make_folder(const std::string& path);

// Makes renames and new files inside dir durable.
void sync_dir(const std::string& dir);

// After a crash path holds either the old or the new content.
void write_whole_file(const std::string& path, std::string_view content);

}  // namespace frugal
