#include "trainer/cli/end_job.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace frugal::cli {

void end_job(World& world, ErrorKind kind, const std::string& message, const RunFailure* failure) {
  using std::chrono::milliseconds;
  const bool secondary = kind == ErrorKind::kCommunication;
  std::signal(SIGTERM, SIG_DFL);
  if (world.size() > 1) {
    std::this_thread::sleep_for(
        milliseconds((secondary ? 3000 : 0) + (world.rank() > 0 ? 2000 : 0)));
  }
  if (failure != nullptr) failure->note();
  const bool program = kind == ErrorKind::kInternal;
  const std::string text = concat("frugal: ", program ? "internal error: " : "", message, "\n");
  std::fwrite(text.data(), 1, text.size(), stderr);  // at once, or mpirun's own words get between
  if (world.size() > 1) world.abort(static_cast<int>(kind));
  std::_Exit(static_cast<int>(kind));
}

}  // namespace frugal::cli
