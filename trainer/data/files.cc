#include "trainer/data/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "kernels/core/check.h"

namespace frugal {
namespace {

[[noreturn]] void fail_system(const std::string& path, const char* action) {
  const int reason = errno;
  fail(ErrorKind::kData, path, ": cannot ", action, ": ", std::strerror(reason));
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) fail_system(path, "open");
  struct stat info {};
  const bool known = ::fstat(file, &info) == 0;
  if (!known || !S_ISREG(info.st_mode)) {
    ::close(file);
    fail(ErrorKind::kData, path, ": not a regular file");
  }
  size_ = static_cast<std::size_t>(info.st_size);
  void* data = size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file, 0);
  const int reason = errno;
  ::close(file);
  errno = reason;
  if (data == MAP_FAILED) fail_system(path, "map");
  data_ = static_cast<const char*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

FileWriter::FileWriter(const std::string& path) : path_(path) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail_system(path_, "create");
}

FileWriter::~FileWriter() {
  if (file_ >= 0) ::close(file_);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_system(path_, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void FileWriter::overwrite_start(std::span<const std::byte> bytes) {
  if (::lseek(file_, 0, SEEK_SET) < 0) fail_system(path_, "seek");
  write(bytes);
}

void FileWriter::finish() {
  const bool synced = ::fsync(file_) == 0;
  if (!synced) fail_system(path_, "flush");
  if (::close(std::exchange(file_, -1)) != 0) fail_system(path_, "close");
}

void make_folder(const std::string& path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (failed) {
    fail(ErrorKind::kData, path, ": cannot be created: ", failed.message(),
         "; choose another --output");
  }
}

void sync_dir(const std::string& dir) {
  const int file = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) fail_system(dir, "open");
  const bool synced = ::fsync(file) == 0;
  const int reason = errno;
  ::close(file);
  errno = reason;
  if (!synced) fail_system(dir, "flush");
}

void write_whole_file(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  FileWriter file(temporary);
  file.write(std::as_bytes(std::span(content)));
  file.finish();
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail_system(path, "replace");
  const auto parent = std::filesystem::path(path).parent_path();
  sync_dir(parent.empty() ? "." : parent.string());
}

}  // namespace frugal
