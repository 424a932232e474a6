// metrics.jsonl: one JSON object a line. Keys and number format are in README.md.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/metrics/appended_file.h"
#include "trainer/metrics/metrics.h"

namespace frugal {

// Appends to metrics.jsonl; each line is handed to the system when its call returns, unless the
// disk is full. Used by one thread.
class JsonLines {
 public:
  // Keeps the lines of steps <= resume_step; later ones, and what is not a whole line of ours (a
  // torn end, bytes lost in a power failure), are cut off by replacing the file. Throws
  // Error(kData) where it cannot be opened.
  JsonLines(const std::string& path, std::int64_t resume_step);

  void step(const StepMetrics& metrics);
  void eval(const EvalMetrics& metrics);
  void choices(const ChoiceMetrics& metrics);

  std::int64_t lines_cut() const { return lines_cut_; }
  const AppendedFile& file() const { return file_; }

 private:
  std::int64_t lines_cut_ = 0;
  AppendedFile file_;
};

}  // namespace frugal
