// The tiny training between eight processes: mpi_main FAMILY PRECISION SCRATCH. Numbers and tensors
// must have the bits of one thread rank; each layout goes on from a checkpoint that the one before
// has saved. With a tensor-parallel size of 2 the bits are those of thread ranks on the same
// layout. FRUGAL_TEST_FULL=1 in the environment: then every layout of up to eight ranks from step 1
// to 20 too.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>

#include "comm/world.h"
#include "tests/equivalence/tiny_training.h"
#include "trainer/checkpoint/checkpoint.h"

namespace frugal::test {
namespace {

// Every schedule, both ways of recompute and ZeRO, by data, by pipeline and by both.
std::vector<Layout> layouts() {
  return {{.data = 8, .schedule = "gpipe"},
          {.data = 2, .pipeline = 4, .schedule = "zb_h1", .recompute = true},
          {.data = 2, .pipeline = 2, .zero_stage = 0, .recompute = true},
          {.data = 2, .pipeline = 2, .schedule = "interleaved_1f1b"},
          {.data = 4, .schedule = "zb_h1"},
          {.pipeline = 4, .schedule = "zb_h1", .zero_stage = 0, .stage_layers = {0, 2, 1, 0}},
          {.data = 2, .pipeline = 3, .recompute = true},
          {.pipeline = 3, .schedule = "interleaved_1f1b"},
          {.data = 4, .pipeline = 2, .zero_stage = 0}};
}

class Comparison {
 public:
  Comparison(World& world, Config base, std::string root)
      : world_(world), group_(world.group()), base_(std::move(base)), root_(std::move(root)) {}

  // Half of the training on one layout, the other half on another one.
  void check(const Layout& from, const Layout& to) {
    if (world_.rank() == 0) std::filesystem::remove_all(root_);
    const Outcome& expected = reference(to);
    train_part(from, {.until = kSteps / 2, .save_under = root_});
    const auto outcome = train_part(to, {.resume_from = list_checkpoints(root_).at(0)});
    expect_same(to, expected, outcome);
  }

  // All of it on one layout.
  void check(const Layout& layout) {
    const Outcome& expected = reference(layout);
    expect_same(layout, expected, train_part(layout, {}));
  }

 private:
  // Every process makes its own: each compares the tensors that it holds.
  const Outcome& reference(const Layout& layout) {
    const Layout like{.tensor = layout.tensor};
    const auto [found, added] = references_.try_emplace(layout.tensor);
    if (added) found->second = train(with_layout(base_, like));
    return found->second;
  }

  // Ranks beyond the layout's wait; they get an empty outcome.
  Outcome train_part(const Layout& layout, const Leg& leg) {
    group_->host_barrier();
    auto part = group_->split(group_->rank() < layout.ranks() ? 0 : -1, group_->rank());
    Outcome out;
    if (part != nullptr) out = train_rank(with_layout(base_, layout), std::move(part), leg);
    group_->host_barrier();
    return out;
  }

  void expect_same(const Layout& layout, const Outcome& expected, const Outcome& actual) const {
    if (group_->rank() >= layout.ranks()) return;
    const std::string differs = difference(expected, actual);
    if (!differs.empty()) throw std::runtime_error(describe(layout) + ": " + differs);
  }

  World& world_;
  std::unique_ptr<ProcessGroup> group_;
  Config base_;
  std::string root_;
  std::map<int, Outcome> references_;
};

void run(World& world, const Config& base, const std::string& root) {
  Comparison comparison(world, base, root);
  const std::vector<Layout> all = layouts();
  for (std::size_t i = 0; i < all.size(); ++i) comparison.check(all[i], all[(i + 1) % all.size()]);
  comparison.check({.pipeline = 2, .tensor = 2});
  comparison.check({.data = 2, .pipeline = 2, .tensor = 2, .schedule = "zb_h1"});
  const char* full = std::getenv("FRUGAL_TEST_FULL");
  for (const Layout& layout : all_layouts()) {
    if (full == nullptr || std::string(full) != "1" || layout.ranks() > world.size()) continue;
    comparison.check(layout);
  }
  if (world.rank() == 0) std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace frugal::test

int main(int argc, char** argv) {
  const auto world = frugal::make_world(&argc, &argv);
  frugal::set_thread_rank(world->rank());
  try {
    if (argc != 4) throw std::runtime_error("usage: mpi_main FAMILY PRECISION SCRATCH");
    frugal::test::run(*world, frugal::test::tiny_config(argv[1], argv[2]), argv[3]);
    if (world->rank() == 0) std::printf("%s %s: same bits\n", argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", world->rank(), error.what());
    world->abort(1);
  }
  return 0;
}
