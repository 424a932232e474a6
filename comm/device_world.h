// How ranks whose tensors lie on devices reach each other.
#pragma once

#include <memory>
#include <string>

#include "comm/nccl_group.h"

namespace frugal {

struct DeviceWorld {
  std::unique_ptr<ProcessGroup> group;
  std::string transport;  // which and why, for a line of the log; "" where there was no choice
};

// Makes a group for tensors of `device`, on every rank its own, out of one that exchanges host
// memory. NCCL where all ranks have it and a GPU each, and where it moved a pattern between all of
// them without a fault; otherwise through host memory, which moves the same pattern first. On the
// host, and for a single rank, it is `host` itself. Collective. Throws Error(kCommunication), and
// Error(kPreflight) where some ranks have a device and some have none.
DeviceWorld make_device_world(std::unique_ptr<ProcessGroup> host, Device device,
                              const NcclOptions& nccl = {});

// Memory that a group of `ranks` may take beside its tensors.
struct GroupMemory {
  std::size_t device = 0, host = 0;
};
GroupMemory group_memory(Device device, int ranks);

}  // namespace frugal
