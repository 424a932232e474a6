// What ranks that exchange host memory share: threads and MPI processes.
#pragma once

#include <span>
#include <vector>

#include "comm/collective_group.h"

namespace frugal {

class HostGroup : public CollectiveGroup {
 protected:
  void require(Device device, const char* what) const final {
    FRUGAL_CHECK(on_host(device), what, ": ranks that are threads or MPI processes exchange ",
                 "host memory only, and this tensor lies on a GPU");
  }
  void transfer(const std::vector<PeerTransfer>& transfers, const char* what,
                Stream& stream) final {
    stream.run_host([=, this] { move(transfers, what); });
  }
  // The transfers, on the stream's host thread; returns when they are done.
  virtual void move(std::span<const PeerTransfer> transfers, const char* what) = 0;
};

}  // namespace frugal
