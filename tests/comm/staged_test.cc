// Ranks that exchange a device's memory through the host, on a device whose memory the host cannot
// touch.
#include <gtest/gtest.h>

#include <stdexcept>

#include "comm/staged_group.h"
#include "comm/world.h"
#include "kernels/core/arena.h"
#include "tests/comm/conformance.h"
#include "tests/support/guarded_device.h"

namespace frugal::test {
namespace {

class StagedGroup : public testing::Test {
 protected:
  void SetUp() override { install_guarded_device(cpu::table); }
};

TEST_F(StagedGroup, Conformance) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    SCOPED_TRACE(ranks);
    ASSERT_NO_THROW(run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
      const auto group = make_staged_group(std::move(world), kGuarded);
      check_conformance(*group, {.device = kGuarded});
    }));
  }
}

// Tensors on the host pass by the device.
TEST_F(StagedGroup, IsAGroupOfTheHostToo) {
  for (const StreamMode mode : {StreamMode::kInline, StreamMode::kThreaded}) {
    ASSERT_NO_THROW(run_ranks_as_threads(3, [&](std::unique_ptr<ProcessGroup> world) {
      const auto group = make_staged_group(std::move(world), kGuarded);
      check_conformance(*group, {.mode = mode});
    }));
  }
}

// What a rank that has failed says is what its peers' collective throws.
TEST_F(StagedGroup, AFailingRankWakesTheOthers) {
  std::string told;
  try {
    run_ranks_as_threads(2, [&](std::unique_ptr<ProcessGroup> world) {
      const auto group = make_staged_group(std::move(world), kGuarded);
      if (group->rank() == 1) {
        const std::runtime_error broken("rank 1 is broken");
        group->abort(std::make_exception_ptr(broken));
        throw broken;
      }
      Arena arena(kGuarded, 4096);
      const Tensor x = arena.allocate("x", {1000}, DType::kF32);
      const auto stream = make_stream(kGuarded, "test");
      try {
        group->all_reduce(x, ReduceOp::kSum, *stream);
        stream->synchronize();
      } catch (const Error& error) {
        told = error.what();
        EXPECT_EQ(error.kind(), ErrorKind::kCommunication);
        throw;
      }
    });
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "rank 1 is broken");
  }
  EXPECT_NE(told.find("all_reduce: "), std::string::npos) << told;
  EXPECT_NE(told.find("another rank has failed"), std::string::npos) << told;
}

}  // namespace
}  // namespace frugal::test
