// What ranks tell each other around a checkpoint: short texts and failures. All calls are
// collective and block.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/process_group.h"
#include "kernels/core/check.h"

namespace frugal {

// By rank on rank 0, empty elsewhere.
std::vector<std::string> gather_texts(ProcessGroup& world, const std::string& own);

// The text of rank 0.
std::string broadcast_text(ProcessGroup& world, const std::string& text);

struct Failure {
  ErrorKind kind;
  std::string message;
};

// Runs work, which calls no collective, and returns the failure of the first rank where it threw an
// Error; the same on every rank.
std::optional<Failure> run_agreed(ProcessGroup& world, const std::function<void()>& work);

}  // namespace frugal
