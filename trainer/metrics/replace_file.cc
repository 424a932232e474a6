#include "trainer/metrics/replace_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "kernels/core/check.h"

namespace frugal {

void replace_file(const std::string& path, std::string_view content) {
  const std::string tmp = path + ".tmp";
  std::FILE* file = std::fopen(tmp.c_str(), "wb");
  if (file == nullptr) fail(ErrorKind::kData, tmp, ": cannot create: ", std::strerror(errno));
  bool ok = std::fwrite(content.data(), 1, content.size(), file) == content.size();
  ok = ok && std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  int reason = errno;
  if (std::fclose(file) != 0 && ok) {
    ok = false;
    reason = errno;
  }
  if (!ok) fail(ErrorKind::kData, tmp, ": cannot write: ", std::strerror(reason));
  if (std::rename(tmp.c_str(), path.c_str()) != 0) {
    fail(ErrorKind::kData, path, ": cannot replace: ", std::strerror(errno));
  }
}

}  // namespace frugal
