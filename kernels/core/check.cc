#include "kernels/core/check.h"

namespace frugal {
namespace {
thread_local int current_rank = -1;
}

void set_thread_rank(int rank) {
  current_rank = rank;
}
int thread_rank() {
  return current_rank;
}

void fail_check(const char* file, int line, const char* condition, const std::string& message) {
  std::string text = concat(file, ":", line, ": check failed: ", condition);
  if (current_rank >= 0) text += concat(" [rank ", current_rank, "]");
  if (!message.empty()) text += ": " + message;
  throw Error(ErrorKind::kInternal, text);
}

}  // namespace frugal
