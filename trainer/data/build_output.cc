#include "trainer/data/build_output.h"

#include <array>
#include <system_error>

#include "kernels/core/check.h"
#include "trainer/data/files.h"

namespace frugal {
namespace fs = std::filesystem;
namespace {

// Moved into place in this order: where there is train/, there is all.
constexpr std::array kParts = {"validation", "train"};

}  // namespace

void check_no_output(const std::string& dir) {
  for (const char* part : kParts) {
    if (fs::exists(fs::path(dir) / part)) {
      fail(ErrorKind::kUsage, (fs::path(dir) / part).string(),
           ": already there: remove it or choose another --output");
    }
  }
}

void build_output(const std::string& dir, const std::function<void(const fs::path&)>& build) {
  const fs::path temporary = fs::path(dir) / ".building";
  fs::remove_all(temporary);  // of a build that was cut short
  try {
    build(temporary);
    for (const char* part : kParts) {
      if (fs::exists(temporary / part)) fs::rename(temporary / part, fs::path(dir) / part);
    }
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
  fs::remove_all(temporary);
  sync_dir(dir);
}

}  // namespace frugal
