// What a run reports: one name per quantity in console, metrics.jsonl and TensorBoard. Rank 0 only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace frugal {

// One training step. Floats that were computed as float32 are stored as float, so that JSON
// round-trips their bits.
struct StepMetrics {
  std::int64_t step = 0;  // first step is 1: the number of updates made so far
  float loss = 0;         // mean over the step's target tokens, nats
  float grad_norm = 0;    // before clipping; may be non-finite
  float learning_rate = 0;
  std::int64_t tokens = 0;  // target tokens seen so far
  double tokens_per_second = 0;
  double step_time_s = 0;
  double mfu = 0;                        // share of the machine's measured matmul peak
  std::size_t peak_bytes = 0;            // resident memory of this host's ranks, high-water
  std::size_t total_bytes = 0;           // memory of this host
  bool skipped = false;                  // the gradient was not finite; no update was made
  std::optional<float> loss_scale = {};  // of this step, where the run scales its loss
};

struct EvalMetrics {
  std::int64_t step = 0;
  float loss = 0;
  double bits_per_byte = 0;
};

struct ChoiceMetrics {
  std::int64_t step = 0;
  double right = 0, right_per_byte = 0;  // shares of the questions
};

// A run folder's writers. Opened for append on resume: lines of steps after `resume_step` (lost
// work) are cut off first. A full disk never ends a run: what cannot be written waits, and that is
// said on the console.
class MetricsWriter {
 public:
  struct Options {
    std::string run_dir;
    std::int64_t total_steps = 0;
    std::int64_t resume_step = 0;  // 0: a fresh run
    int console_interval = 1;
    bool tensorboard = true;
    std::vector<std::string> said_before = {};  // goes to log.txt only
  };
  // Throws Error(kData) when the folder cannot be written.
  explicit MetricsWriter(const Options& options);
  ~MetricsWriter();

  void step(const StepMetrics& metrics);  // console every console_interval steps, and always the
                                          // first and the last
  void eval(const EvalMetrics& metrics);
  void choices(const ChoiceMetrics& metrics);
  void sample(std::int64_t step, std::string_view prompt,
              std::string_view text);  // console, samples/step-XXXXXXXX.txt, TensorBoard
  void say(std::string_view line);     // console and log.txt
  void let_console_finish();           // waits until the console has it, at most a second

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "step 120/2000 (6%) | loss 3.281 | grad 1.12 | lr 3.0e-4 | 41.2k tok/s | mfu 38% | mem 17.3/24
// GiB | 1.59 s | eta 49m"
std::string console_line(const StepMetrics& metrics, std::int64_t total_steps);

// run.json: state (running, finished, stopped, failed), version, compiler, host of rank 0, layout,
// start and stop times, exit code. Replaced by rename. Throws Error(kData).
struct RunInfo {
  std::string state;
  std::map<std::string, std::string> facts;
  std::optional<int> exit_code;
};
void write_run_info(const std::string& run_dir, const RunInfo& info);

}  // namespace frugal
