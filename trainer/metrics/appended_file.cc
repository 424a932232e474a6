#include "trainer/metrics/appended_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/core/check.h"

namespace frugal {

AppendedFile::AppendedFile(std::string path)
    : path_(std::move(path)),
      file_(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (file_ < 0) fail(ErrorKind::kData, path_, ": cannot open for writing: ", std::strerror(errno));
}

AppendedFile::~AppendedFile() {
  write_waiting();
  close(file_);
}

void AppendedFile::append(std::string_view bytes) {
  waiting_ += bytes;
  write_waiting();
}

void AppendedFile::write_waiting() {
  std::size_t done = 0;
  problem_.clear();
  while (done < waiting_.size()) {
    const ssize_t written = write(file_, waiting_.data() + done, waiting_.size() - done);
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno != EINTR) {
      problem_ = concat(path_, ": cannot write: ", std::strerror(errno));
      break;
    }
  }
  waiting_.erase(0, done);
}

}  // namespace frugal
