// A group without peers, for planning: it knows its rank and size, and its calls do nothing.
#pragma once

#include <memory>

#include "comm/process_group.h"

namespace frugal {

// REQUIRES: used with planning streams only.
std::unique_ptr<ProcessGroup> make_planning_group(int rank, int size);

}  // namespace frugal
