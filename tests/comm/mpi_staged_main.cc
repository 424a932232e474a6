// The conformance suite under mpirun for a device's memory, which the host cannot touch: ends 0
// when every rank agrees.
#include <cstdio>
#include <exception>

#include "comm/staged_group.h"
#include "comm/world.h"
#include "tests/comm/conformance.h"
#include "tests/support/guarded_device.h"

int main(int argc, char** argv) {
  const auto world = frugal::make_world(&argc, &argv);
  frugal::set_thread_rank(world->rank());
  try {
    frugal::test::install_guarded_device(frugal::cpu::table);
    const auto group = frugal::make_staged_group(world->group(), frugal::test::kGuarded);
    frugal::test::check_conformance(*group, {.device = frugal::test::kGuarded});
    if (world->rank() == 0) std::printf("%d ranks: ok\n", world->size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    world->abort(1);
  }
  return 0;
}
