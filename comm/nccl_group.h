// Ranks with a GPU each, over NCCL.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "comm/process_group.h"

namespace frugal {

struct NcclOptions {
  std::string library = "libnccl.so.2";
  // A call that has begun on the GPU and is not done after so long has lost a peer; the first call
  // of a group after ten times as long, since its peers may still be starting. With what ends the
  // other ranks 20 seconds leave every rank less than 30.
  std::chrono::milliseconds timeout = std::chrono::seconds(20);
};

// A group of the same ranks for tensors of `device`, this rank's own GPU; for tensors on the host
// it is `host`, which also carries what makes communicators. Collective. Null, with the same
// reason on every rank, where NCCL does not start on one of them, and in a binary without it.
//
// A failure ends this rank's communicators, here and in groups split from it, and becomes an
// Error(kCommunication) of the streams that they work on; it names collective and peers. A rank
// that cannot be woken so ends its process with exit code 6.
std::unique_ptr<ProcessGroup> make_nccl_group(const std::shared_ptr<ProcessGroup>& host,
                                              Device device, const NcclOptions& options,
                                              std::string& reason);

}  // namespace frugal
