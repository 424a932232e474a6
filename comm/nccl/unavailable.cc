// Chosen by CMake in builds without CUDA or NCCL.
#include "comm/nccl_group.h"

namespace frugal {

std::unique_ptr<ProcessGroup> make_nccl_group(const std::shared_ptr<ProcessGroup>&, Device,
                                              const NcclOptions&, std::string& reason) {
  reason = "this binary was built without NCCL";
  return nullptr;
}

}  // namespace frugal
