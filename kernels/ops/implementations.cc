#include "kernels/ops/implementations.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>

namespace frugal {

bool verbose(std::string_view topic) {
  const char* topics = std::getenv("FRUGAL_VERBOSE");
  return topics != nullptr &&
         ("," + std::string(topics) + ",").find(concat(",", topic, ",")) != std::string::npos;
}

void say_once(const std::string& line) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(line).second) std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace frugal
