// A world of one rank, which needs no launcher and no MPI.
#pragma once

#include <memory>

#include "comm/world.h"

namespace frugal {

std::unique_ptr<World> make_lone_world();

}  // namespace frugal
