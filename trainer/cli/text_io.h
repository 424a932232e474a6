// Files and standard streams as text.
#pragma once

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>

#include "kernels/core/check.h"

namespace frugal::cli {

// "-" is standard input. Throws Error(kData).
inline std::string read_text(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    file.peek();  // a folder opens, but cannot be read
    if (file.bad() || !file.is_open()) {
      fail(ErrorKind::kData, path, ": cannot be read: ", std::strerror(errno));
    }
    file.clear();
  }
  std::istream& in = path == "-" ? std::cin : file;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void progress_line(std::string_view line) {
  std::cerr << line << '\n';
}

}  // namespace frugal::cli
