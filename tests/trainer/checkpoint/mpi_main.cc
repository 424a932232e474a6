// Saving, choosing and reading under mpirun: ends 0 when every rank agrees.
#include <sys/types.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>

#include "comm/world.h"
#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/faulty_files.h"
#include "tests/trainer/checkpoint/saved_model.h"

namespace frugal::test {
namespace {

void check(ProcessGroup& world, const std::string& root) {
  FRUGAL_CHECK(save(world, root, 1, Cut::kRuns).committed);
  FaultyFiles full;
  if (world.rank() == world.size() - 1) full.fail_at(4, ENOSPC, true);
  const Outcome outcome = save(world, root, 2, Cut::kRuns, &full);
  FRUGAL_CHECK(!outcome.committed && outcome.error.find("No space left") != std::string::npos,
               outcome.error);
  const auto found = find_usable_checkpoint(root, world, [](std::string_view) {});
  FRUGAL_CHECK(found == root + "/step-00000001");
  const CheckpointReader reader(*found);
  const Pieces pieces = make_pieces(small_model(), {Cut::kColumns, world.rank(), world.size()});
  poison(pieces);
  for (const TensorSlice& slice : pieces.slices) reader.read(slice);
  FRUGAL_CHECK(wrong_element(pieces).empty());
}

}  // namespace
}  // namespace frugal::test

int main(int argc, char** argv) {
  const auto world = frugal::make_world(&argc, &argv);
  frugal::set_thread_rank(world->rank());
  try {
    const auto group = world->group();
    const std::string root = argv[1];  // one for all ranks
    if (world->rank() == 0) std::filesystem::remove_all(root);
    group->host_barrier();
    frugal::test::check(*group, root);
    if (world->rank() == 0) std::printf("%d ranks: ok\n", world->size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    world->abort(1);
  }
  return 0;
}
