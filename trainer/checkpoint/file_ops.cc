#include "trainer/checkpoint/file_ops.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "kernels/core/check.h"

namespace frugal {
namespace {

// Repeats a call that a signal interrupted; the negative errno of a failure.
template <class Call>
auto retried(const Call& call) -> decltype(call()) {
  for (;;) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

std::string_view advice(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "; free disk space";
    case EACCES:
    case EPERM:
    case EROFS:
      return "; check the permissions";
    case ENOENT:
      return "; the folder must be whole, and the same for all nodes";
    case ELOOP:
      return "; symbolic links are not followed here: put the file itself there (cp -L)";
    default:
      return "";
  }
}

}  // namespace

int FileOps::create(const std::string& path) {
  return retried(
      [&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
}
ssize_t FileOps::write(int descriptor, std::span<const std::byte> bytes) {
  return retried([&] { return ::write(descriptor, bytes.data(), bytes.size()); });
}
int FileOps::sync(int descriptor) {
  return ::fsync(descriptor) == 0 ? 0 : -errno;
}
int FileOps::close(int descriptor) {
  return ::close(descriptor) == 0 || errno == EINTR ? 0 : -errno;
}
int FileOps::sync_directory(const std::string& path) {
  const int descriptor =
      retried([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (descriptor < 0) return descriptor;
  // EINVAL: a file system that has no such thing, like some network mounts.
  const int result = ::fsync(descriptor) == 0 || errno == EINVAL ? 0 : -errno;
  ::close(descriptor);
  return result;
}
int FileOps::rename(const std::string& from, const std::string& to) {
  return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : -errno;
}
int FileOps::remove_file(const std::string& path) {
  return ::unlink(path.c_str()) == 0 ? 0 : -errno;
}
int FileOps::make_directory(const std::string& path) {
  return ::mkdir(path.c_str(), 0777) == 0 ? 0 : -errno;
}
int FileOps::remove_directory(const std::string& path) {
  return ::rmdir(path.c_str()) == 0 ? 0 : -errno;
}

FileOps& disk_files() {
  static FileOps files;
  return files;
}

void fail_system(const std::string& path, std::string_view what, int error_number) {
  const bool refused = error_number == EACCES || error_number == EPERM || error_number == EMFILE ||
                       error_number == ENFILE || error_number == ENOMEM;
  fail(refused ? ErrorKind::kPreflight : ErrorKind::kData, path, ": cannot ", what, ": ",
       std::generic_category().message(error_number), advice(error_number));
}

void check_system(int result, const std::string& path, std::string_view what) {
  if (result < 0) fail_system(path, what, -result);
}

NewFile::NewFile(FileOps& files, std::string path)
    : files_(files), path_(std::move(path)), descriptor_(files.create(path_)) {
  check_system(descriptor_, path_, "create");
}

NewFile::~NewFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void NewFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = files_.write(descriptor_, bytes);
    if (written <= 0) fail_system(path_, "write", written == 0 ? EIO : static_cast<int>(-written));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void NewFile::finish() {
  check_system(files_.sync(descriptor_), path_, "write");
  check_system(files_.close(std::exchange(descriptor_, -1)), path_, "write");
}

void make_directories(FileOps& files, const std::string& path) {
  const int result = files.make_directory(path);
  if (result == -EEXIST) return;
  const std::string parent = std::filesystem::path(path).parent_path().string();
  if (result == -ENOENT && !parent.empty()) {
    make_directories(files, parent);
    check_system(files.make_directory(path), path, "create");
  } else {
    check_system(result, path, "create");
  }
  const std::string above = parent.empty() ? "." : parent;
  check_system(files.sync_directory(above), above, "write");
}

std::string remove_folder(FileOps& files, const std::string& path) {
  std::error_code problem;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(path, problem), end; !problem && entry != end;
       entry.increment(problem)) {
    names.push_back(entry->path().string());
  }
  if (problem) return concat(path, ": cannot list: ", problem.message());
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (const int result = files.remove_file(name); result < 0) {
      return concat(name, ": cannot remove: ", std::generic_category().message(-result));
    }
  }
  if (const int result = files.remove_directory(path); result < 0) {
    return concat(path, ": cannot remove: ", std::generic_category().message(-result));
  }
  return {};
}

StoredFile::StoredFile(std::string path, Links links)
    : path_(std::move(path)), descriptor_(retried([this, links] {
        const int refusing = links == Links::kRefused ? O_NOFOLLOW : 0;
        return ::open(path_.c_str(), O_RDONLY | refusing | O_NONBLOCK | O_CLOEXEC);
      })) {
  check_system(descriptor_, path_, "open");
  struct stat status {};
  const bool regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular) {
    ::close(descriptor_);
    fail(ErrorKind::kData, path_, ": not a regular file");
  }
  size_ = status.st_size;
}

StoredFile::~StoredFile() {
  ::close(descriptor_);
}

void StoredFile::read(std::int64_t position, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got =
        retried([&] { return ::pread(descriptor_, out.data(), out.size(), position); });
    if (got < 0) fail_system(path_, "read", static_cast<int>(-got));
    if (got == 0) fail(ErrorKind::kData, path_, ": ends at byte ", position, ", more was expected");
    out = out.subspan(static_cast<std::size_t>(got));
    position += got;
  }
}

}  // namespace frugal
