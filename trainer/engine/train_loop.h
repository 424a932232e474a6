// The loop of train.h, one object per rank and start.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/device_runtime.h"
#include "trainer/data/loader.h"
#include "trainer/data/questions.h"
#include "trainer/engine/checkpointing.h"
#include "trainer/engine/run_folder.h"
#include "trainer/engine/train.h"
#include "trainer/metrics/metrics.h"

namespace frugal {

class TrainLoop {
 public:
  // Opens everything and resumes. Collective. transport: how ranks on GPUs are connected, to be
  // said; may be empty.
  TrainLoop(const TrainingRun& run, DeviceMesh& mesh, const RankPlace& place, RunFolder& folder,
            std::string_view transport);
  TrainingEnd run();
  // A line of the log, from rank 0.
  void say(std::string_view line);
  // Before the process ends without unwinding: gives what was said a second to reach the console.
  void let_console_finish();

 private:
  using Clock = std::chrono::steady_clock;

  struct Requests {
    bool stop = false, save = false;
    std::size_t host_bytes = 0;  // resident memory of the ranks of one host
  };

  void open_data();
  void resume();
  void begin();
  SliceReader foreign_reader() const;  // of model.init_from
  bool lora() const;
  void open_metrics();
  void measure_peak();
  StepResult update();
  void count(const StepResult& result);
  void report(const StepResult& result, double seconds, const Requests& requests);
  void evaluate();
  void sample();
  // Ranks agree at the step boundary.
  Requests agree();
  // True when the newest step is safe; then `error` is empty or of a checkpoint that should be
  // gone.
  bool save(std::string& error);
  void save_and_go_on();  // a failure is said
  void save_last();       // a failure ends the run
  bool due(int interval) const;
  bool scales_loss() const;

  const TrainingRun& run_;
  const Config& config_;
  DeviceMesh& mesh_;
  RankPlace place_;
  Device device_;
  DeviceInfo gpu_;  // on rank 0 after the first step, where the device is one
  RunFolder& folder_;
  CheckpointFacts facts_;
  std::unique_ptr<DataLoader> train_data_, validation_data_;
  std::int64_t validation_bytes_ = 0;
  std::vector<Question> questions_;
  std::unique_ptr<Stream> control_;
  std::unique_ptr<RankModel> model_;
  std::unique_ptr<MetricsWriter> metrics_;  // rank 0
  std::vector<std::string> said_before_;    // while there was none
  Progress progress_;
  std::int64_t saved_step_ = -1;
  double peak_flops_ = 0;  // of all hosts
};

}  // namespace frugal
