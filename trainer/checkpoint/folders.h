// Names under the root of a run's checkpoints.
//   step-00000300            a checkpoint; step-00000300.2 a second one of the same step
//   writing-step-00000300-*  an attempt;   removing-*      on its way out;   damaged-*  put aside
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/checkpoint/file_ops.h"

namespace frugal {

struct CheckpointFolder {
  std::int64_t step = 0;
  int take = 1;
  std::string name;
};
std::string folder_name(std::int64_t step, int take);
// nullopt where folder_name does not make this name.
std::optional<CheckpointFolder> parse_folder_name(const std::string& name);

// Folders with a checkpoint's name, whatever they hold: newest step, then newest take first. Empty
// where root does not exist. Throws Error where it cannot be listed.
std::vector<CheckpointFolder> checkpoint_folders(const std::string& root);

// Names of root that begin with prefix, sorted.
std::vector<std::string> names_with_prefix(const std::string& root, const std::string& prefix);

// Removes what attempts and removals that did not end have left. Returns the first problem.
std::string remove_leftovers(FileOps& files, const std::string& root);

}  // namespace frugal
