// Device memory over ranks that exchange host memory.
#pragma once

#include <cstddef>
#include <memory>

#include "comm/process_group.h"

namespace frugal {

// A group of the same ranks for tensors of `device`, which travel through host memory: from the
// device to a ring of pinned memory, over `host`, from a second ring to the device, in pieces, so
// that the copies both ways and the transport go on at once. For tensors on the host it is `host`.
// Rings and sums take memory with the first call that moves some of the device
// (reduction_bytes, staging_bytes).
std::unique_ptr<ProcessGroup> make_staged_group(std::shared_ptr<ProcessGroup> host, Device device);

// Host memory that the rings of one group take.
std::size_t staging_bytes();

}  // namespace frugal
