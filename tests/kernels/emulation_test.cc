// The emulation itself: what it computes, and that it finds what kernels get wrong.
#include "kernels/cuda/emulation/emulation.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "kernels/core/check.h"

namespace frugal::test {
namespace {

using emulation::kOrders;
using emulation::Order;

void run(const emulation::Grid& grid, const std::function<void()>& kernel) {
  for (const Order order : kOrders) {
    emulation::set_order(order);
    emulation::run_grid(grid, kernel);
  }
  emulation::set_order(Order::kAscending);
}

std::string failure_of(const emulation::Grid& grid, const std::function<void()>& kernel) {
  try {
    run(grid, kernel);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Emulation, EveryThreadOfEveryBlockRunsOnce) {
  std::multiset<std::vector<unsigned>> seen;
  emulation::run_grid({"all", {3, 2, 1}, 40}, [&] {
    seen.insert({blockIdx.x, blockIdx.y, threadIdx.x});
    EXPECT_EQ(blockDim.x, 40U);
    EXPECT_EQ(gridDim.x, 3U);
    EXPECT_EQ(gridDim.y, 2U);
  });
  EXPECT_EQ(seen.size(), 240U);
  EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), 240U);
}

TEST(Emulation, SharedMemoryBehindABarrierIsEverybodys) {
  run({"reverse", {2, 1, 1}, 96, 96 * sizeof(unsigned)}, [] {
    auto* shared = reinterpret_cast<unsigned*>(emulation::shared_memory());
    shared[threadIdx.x] = threadIdx.x;
    __syncthreads();
    EXPECT_EQ(shared[95 - threadIdx.x], 95 - threadIdx.x);
  });
}

TEST(Emulation, AMissingBarrierReadsWhatNobodyHasWritten) {
  int unwritten = 0;
  run({"race", {1, 1, 1}, 64, 64 * sizeof(float)}, [&] {
    auto* shared = reinterpret_cast<float*>(emulation::shared_memory());
    shared[threadIdx.x] = 1.0F;
    if (std::isnan(shared[63 - threadIdx.x])) ++unwritten;
  });
  EXPECT_GT(unwritten, 0);
}

TEST(Emulation, ShufflesAndVotes) {
  run({"shuffles", {1, 1, 1}, 64}, [] {
    const int lane = static_cast<int>(threadIdx.x % 32), thread = static_cast<int>(threadIdx.x);
    constexpr unsigned kAll = 0xffffffffU;
    EXPECT_EQ(__shfl_xor_sync(kAll, thread, 5), thread - lane + (lane ^ 5));
    EXPECT_EQ(__shfl_sync(kAll, thread, 3), thread - lane + 3);
    EXPECT_EQ(__shfl_down_sync(kAll, thread, 4), lane < 28 ? thread + 4 : thread);
    EXPECT_EQ(__shfl_up_sync(kAll, thread, 4), lane >= 4 ? thread - 4 : thread);
    EXPECT_EQ(__ballot_sync(kAll, static_cast<int>(lane < 3)), 7U);
    EXPECT_EQ(__any_sync(kAll, static_cast<int>(lane == 9)), 1);
    // Halves of a warp that go different ways.
    const unsigned half = lane < 16 ? 0xffffU : 0xffff0000U;
    const int times = lane < 16 ? 1 : 3;
    int sum = lane;
    for (int i = 0; i < times; ++i) sum += __shfl_xor_sync(half, lane, 1);
    EXPECT_EQ(sum, lane + times * (lane ^ 1));
    __syncwarp();
  });
}

TEST(Emulation, ABarrierThatOthersDoNotReachIsAnError) {
  const std::string failure = failure_of({"stuck", {1, 1, 1}, 64}, [] {
    if (threadIdx.x < 32) {
      __syncthreads();
    } else {
      __shfl_sync(0xffffffffU, threadIdx.x % 2 == 0 ? 1 : 2, 0);
      if (threadIdx.x == 40) __ballot_sync(0xffffffffU, 1);
    }
  });
  EXPECT_NE(failure.find("stuck: thread 0 of block (0, 0) waits for ever at a barrier"),
            std::string::npos)
      << failure;
}

TEST(Emulation, ACollectiveThatALaneDoesNotReachIsAnError) {
  const std::string failure = failure_of({"lonely", {1, 1, 1}, 32}, [] {
    if (threadIdx.x != 7) __shfl_xor_sync(0xffffffffU, 1, 1);
  });
  EXPECT_NE(failure.find("lonely: thread 0 of block (0, 0) waits for ever in a collective"),
            std::string::npos)
      << failure;
}

TEST(Emulation, AFailureInsideAKernelReachesTheCaller) {
  struct Counted {
    explicit Counted(int& c) : count(c) { ++count; }
    ~Counted() { --count; }
    int& count;
  };
  int alive = 0;
  const std::string failure = failure_of({"broken", {1, 1, 1}, 64}, [&] {
    const Counted counted(alive);
    __syncthreads();
    if (threadIdx.x == 33) fail(ErrorKind::kInternal, "thread 33 has had enough");
    __syncthreads();
  });
  EXPECT_NE(failure.find("thread 33 has had enough"), std::string::npos) << failure;
  EXPECT_EQ(alive, 0) << "what was on the threads' stacks is gone";
}

}  // namespace
}  // namespace frugal::test
