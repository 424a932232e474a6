#include "trainer/metrics/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/core/check.h"

namespace frugal {

AppendFile::AppendFile(std::string path)
    : path_(std::move(path)),
      file_(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (file_ < 0) fail(ErrorKind::kData, path_, ": cannot open for writing: ", std::strerror(errno));
}

AppendFile::~AppendFile() {
  close(file_);
}

void AppendFile::append(std::string_view record) {
  const off_t before = lseek(file_, 0, SEEK_END);
  for (std::string_view rest = record; !rest.empty();) {
    const ssize_t written = write(file_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    const int reason = errno;
    const bool undone = before >= 0 && ftruncate(file_, before) == 0;
    fail(ErrorKind::kData, path_, ": cannot write: ", std::strerror(reason),
         undone ? "" : "; its last record may be torn");
  }
}

}  // namespace frugal
