// Chosen by CMake when MPI is not on the machine.
#include "comm/lone_world.h"

namespace frugal {

std::unique_ptr<World> make_world(int*, char***) {
  if (launched_by_mpi()) {
    fail(ErrorKind::kPreflight,
         "started by mpirun, but this binary was built without MPI: install libopenmpi-dev and "
         "build again");
  }
  return make_lone_world();
}

}  // namespace frugal
