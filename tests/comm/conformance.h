// What every ProcessGroup must do, whatever carries it. The oracle is arithmetic on rank numbers.
#pragma once

#include "comm/process_group.h"

namespace frugal::test {

// Where the tensors lie and the streams work.
struct Place {
  StreamMode mode = StreamMode::kInline;
  Device device = {};
};

// Throws std::runtime_error at the first wrong value. Collective over the world.
void check_conformance(ProcessGroup& world, const Place& place);

}  // namespace frugal::test
