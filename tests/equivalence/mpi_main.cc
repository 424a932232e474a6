// The tiny training under mpirun against the same on one thread rank: mpi_main DATA PIPELINE TENSOR
// SCHEDULE. With tensor 1 all numbers must have the same bits; otherwise those of thread ranks in
// the same layout.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "comm/world.h"
#include "tests/equivalence/tiny_training.h"

namespace frugal::test {
namespace {

int run(World& world, const Layout& layout) {
  for (const std::string family : {"llama", "gpt2"}) {
    const Config base = tiny_config(family, "bf16");
    const Outcome actual = train_rank(with_layout(base, layout), world.group());
    const Outcome expected = train(with_layout(base, layout.tensor == 1 ? Layout{} : layout));
    if (actual.losses != expected.losses || actual.norms != expected.norms) {
      std::fprintf(stderr, "rank %d: %s on %s differs from thread ranks\n", world.rank(),
                   family.c_str(), describe(layout).c_str());
      return 1;
    }
    for (const auto& [name, bits] : actual.weights) {
      if (layout.tensor > 1 || expected.weights.at(name) == bits) continue;
      std::fprintf(stderr, "rank %d: weights of %s differ\n", world.rank(), name.c_str());
      return 1;
    }
  }
  if (world.rank() == 0) std::printf("%s: same bits\n", describe(layout).c_str());
  return 0;
}

}  // namespace
}  // namespace frugal::test

int main(int argc, char** argv) {
  const auto world = frugal::make_world(&argc, &argv);
  frugal::set_thread_rank(world->rank());
  try {
    if (argc != 5) throw std::runtime_error("usage: mpi_main DATA PIPELINE TENSOR SCHEDULE");
    const int code = frugal::test::run(*world, {.data = std::atoi(argv[1]),
                                                .pipeline = std::atoi(argv[2]),
                                                .tensor = std::atoi(argv[3]),
                                                .schedule = argv[4]});
    if (code != 0) world->abort(code);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    world->abort(1);
  }
  return 0;
}
