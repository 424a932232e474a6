#include "trainer/engine/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "kernels/core/check.h"
#include "trainer/engine/host.h"
#include "trainer/engine/run_identity.h"
#include "trainer/metrics/metrics.h"
#include "trainer/metrics/replace_file.h"

namespace frugal {
namespace {

// Taken for the life of the process; the system gives it back however that ends.
int take_lock(const std::string& folder) {
  const std::string path = folder + "/.lock";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) fail(ErrorKind::kData, path, ": ", std::strerror(errno));
  if (flock(file, LOCK_EX | LOCK_NB) == 0) return file;
  const int error = errno;
  close(file);
  if (error != EWOULDBLOCK) return -1;  // a file system without locks
  fail(ErrorKind::kUsage, folder,
       ": another training is writing there; wait for it or set another run.name");
}

}  // namespace

std::string utc_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

RunFolder::RunFolder(const Config& config, int world_rank, int world_size)
    : writes_(world_rank == 0),
      path_(config.run.dir + "/" + config.run.name),
      run_id_(config.run.name),
      started_(utc_time()),
      layout_(layout_text(config.parallelism)),
      ranks_(world_size) {
  if (!writes_) return;
  std::error_code failed;
  std::filesystem::create_directories(checkpoints(), failed);
  if (failed) {
    fail(ErrorKind::kData, checkpoints(), ": cannot be created: ", failed.message(),
         "; set another run.dir");
  }
  lock_ = take_lock(path_);
  set_state("running", std::nullopt);
}

RunFolder::~RunFolder() {
  if (lock_ >= 0) close(lock_);
}

RunInfo RunFolder::info(const std::string& state, std::optional<int> exit_code) const {
  RunInfo info{.state = state,
               .facts = {{"started", started_},
                         {"version", FRUGAL_VERSION},
                         {"compiler", "gcc " __VERSION__},
                         {"host", host_name()},
                         {"layout", layout_},
                         {"ranks", std::to_string(ranks_)}},
               .exit_code = exit_code};
  if (exit_code) info.facts["ended"] = utc_time();
  return info;
}

void RunFolder::publish(const Config& config) const {
  if (writes_) replace_file(path_ + "/config.yaml", dump_config(config));
}

void RunFolder::set_state(const std::string& state, std::optional<int> exit_code) const {
  if (writes_) write_run_info(path_, info(state, exit_code));
}

RunFailure::RunFailure(ErrorKind kind, const std::string& message, const RunFolder& folder)
    : Error(kind, message),
      path_(folder.path()),
      info_(folder.info("failed", static_cast<int>(kind))) {}

void RunFailure::note() const noexcept {
  try {
    write_run_info(path_, info_);
  } catch (const std::exception&) {
    return;
  }
}

}  // namespace frugal
