// The conformance suite under mpirun: ends 0 when every rank agrees.
#include <cstdio>
#include <exception>

#include "comm/world.h"
#include "tests/comm/conformance.h"

int main(int argc, char** argv) {
  const auto world = frugal::make_world(&argc, &argv);
  frugal::set_thread_rank(world->rank());
  try {
    const auto group = world->group();
    for (const auto mode : {frugal::StreamMode::kInline, frugal::StreamMode::kThreaded}) {
      frugal::test::check_conformance(*group, mode);
    }
    if (world->rank() == 0) std::printf("%d ranks: ok\n", world->size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    world->abort(1);
  }
  return 0;
}
