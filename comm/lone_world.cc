#include "comm/lone_world.h"

#include <cstdlib>

#include "comm/host_group.h"

namespace frugal {
namespace {

// No peer ever: move() is never called with anything to do.
class LoneGroup final : public HostGroup {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void host_barrier() override {}
  std::unique_ptr<ProcessGroup> split(int color, int) override {
    return color < 0 ? nullptr : std::make_unique<LoneGroup>();
  }

 protected:
  void move(std::span<const PeerTransfer> transfers, const char* what) override {
    FRUGAL_CHECK(transfers.empty(), what, " has no peer");
  }
};

class LoneWorld final : public World {
 public:
  std::unique_ptr<ProcessGroup> group() override { return std::make_unique<LoneGroup>(); }
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_rank() const override { return 0; }
  int local_size() const override { return 1; }
  int ranks_on_cores() const override { return 1; }
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }
};

}  // namespace

std::unique_ptr<World> make_lone_world() {
  return std::make_unique<LoneWorld>();
}

bool launched_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

}  // namespace frugal
