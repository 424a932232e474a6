// What every ProcessGroup must do, whatever carries it. The oracle is arithmetic on rank numbers.
#pragma once

#include <functional>
#include <memory>

#include "comm/process_group.h"

namespace frugal::test {

// Throws std::runtime_error at the first wrong value. Collective over the world.
void check_conformance(ProcessGroup& world, StreamMode mode);

}  // namespace frugal::test
