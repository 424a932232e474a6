// The run folder on rank 0: held by one training at a time.
#pragma once

#include <optional>
#include <string>

#include "trainer/config/config.h"

namespace frugal {

class RunFolder {
 public:
  // Makes the folder and takes its lock; on other ranks than 0 nothing. Throws
  // Error(kUsage) when another process trains there, Error(kData) when it cannot be written.
  RunFolder(const Config& config, int world_rank, int world_size);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string checkpoints() const { return path_ + "/checkpoints"; }
  // The name under which checkpoints know the run. From rank 0.
  const std::string& run_id() const { return run_id_; }
  // Makes config.yaml: call when it is known that the config fits what the folder holds.
  void publish(const Config& config) const;
  // run.json: running, finished, stopped, failed. What cannot be written is said on stderr: it must
  // not hide why a run ends.
  void set_state(const std::string& state, std::optional<int> exit_code) const;

 private:
  bool writes_;
  std::string path_, run_id_, started_, layout_;
  int ranks_;
  int lock_ = -1;
};

// Now, as "2026-01-31T12:00:00Z".
std::string utc_time();

}  // namespace frugal
