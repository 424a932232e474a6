// The run folder on rank 0: held by one training at a time.
#pragma once

#include <optional>
#include <string>

#include "kernels/core/check.h"
#include "trainer/config/config.h"
#include "trainer/metrics/metrics.h"

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
  // run.json: running, finished, stopped; failed is RunFailure's.
  void set_state(const std::string& state, std::optional<int> exit_code) const;

 private:
  friend class RunFailure;
  RunInfo info(const std::string& state, std::optional<int> exit_code) const;

  bool writes_;
  std::string path_, run_id_, started_, layout_;
  int ranks_;
  int lock_ = -1;
};

// An error of a training that holds its run folder. Any rank may be the one to meet it, and several
// at once, so the one that reports it also notes it in run.json.
class RunFailure : public Error {
 public:
  RunFailure(ErrorKind kind, const std::string& message, const RunFolder& folder);
  // Never throws: the error is what the user must read, not that run.json could not be written.
  void note() const noexcept;

 private:
  std::string path_;
  RunInfo info_;
};

// Now, as "2026-01-31T12:00:00Z".
std::string utc_time();

}  // namespace frugal
