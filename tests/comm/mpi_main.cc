// The conformance suite under mpirun: ends 0 when every rank agrees. With an argument, an MPI call
// that fails on rank 0 while a receive is in flight.
#include <array>
#include <cstdio>
#include <exception>

#include "comm/world.h"
#include "tests/comm/conformance.h"
#include "tests/support/tensors.h"

namespace frugal::test {
namespace {

void send_to_nobody(ProcessGroup& group) {
  const Owned received({8}, DType::kF32), sent({8}, DType::kF32);
  const std::array<PeerTransfer, 2> transfers{
      PeerTransfer{PeerTransfer::Kind::kRecv, received, 1},
      PeerTransfer{PeerTransfer::Kind::kSend, sent, group.size()}};
  if (group.rank() == 0) group.exchange(transfers, *make_stream({}, "test"));
  group.host_barrier();
}

}  // namespace
}  // namespace frugal::test

int main(int argc, char** argv) {
  const auto world = frugal::make_world(&argc, &argv);
  frugal::set_thread_rank(world->rank());
  try {
    const auto group = world->group();
    FRUGAL_CHECK(world->ranks_on_cores() == world->size(), "ranks are not bound here");
    if (argc > 1) frugal::test::send_to_nobody(*group);
    for (const auto mode : {frugal::StreamMode::kInline, frugal::StreamMode::kThreaded}) {
      frugal::test::check_conformance(*group, {.mode = mode});
    }
    if (world->rank() == 0) std::printf("%d ranks: ok\n", world->size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    world->abort(1);
  }
  return 0;
}
