// The emulation itself: what it computes, and that it finds what kernels get wrong.
#include "kernels/cuda/emulation/emulation.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <vector>

#include "kernels/core/check.h"
#include "kernels/core/rng.h"
#include "kernels/cuda/device/mma.h"

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

// Where PTX puts the elements of a product's operands, row by row of the ISA's tables: rows and
// columns of the first element of each register; the second is the next column of a, row of b.
struct Corner {
  int row, column;
};
std::array<Corner, 4> corners_of_a(int lane) {
  const int r = lane >> 2, c = (lane & 3) << 1;
  return {{{r, c}, {r + 8, c}, {r, c + 8}, {r + 8, c + 8}}};
}
std::array<Corner, 2> corners_of_b(int lane) {
  const int r = (lane & 3) << 1, c = lane >> 2;
  return {{{r, c}, {r + 8, c}}};
}
std::array<Corner, 4> elements_of_d(int lane) {
  const int r = lane >> 2, c = (lane & 3) << 1;
  return {{{r, c}, {r, c + 1}, {r + 8, c}, {r + 8, c + 1}}};
}

template <class T>
std::uint32_t pair_of(float low, float high) {
  return T(low).bits | static_cast<std::uint32_t>(T(high).bits) << 16;
}

template <class T>
void expect_product() {
  // Small integers: exact in every type and order of sums.
  float a[16][16], b[16][8], d[16][8];
  for (std::uint64_t i = 0; i < 256; ++i) {
    a[i / 16][i % 16] = static_cast<float>(philox4x32(1, i)[0] % 17) - 8.0F;
    b[i % 128 / 8][i % 8] = static_cast<float>(philox4x32(2, i)[0] % 13) - 6.0F;
    d[i % 128 / 8][i % 8] = static_cast<float>(i);
  }
  run({"product", {1, 1, 1}, 64}, [&] {
    const int lane = static_cast<int>(threadIdx.x % 32);
    unsigned own_a[4], own_b[2];
    float own_d[4];
    for (std::size_t i = 0; i < 4; ++i) {
      const Corner at = corners_of_a(lane)[i], to = elements_of_d(lane)[i];
      own_a[i] = pair_of<T>(a[at.row][at.column], a[at.row][at.column + 1]);
      own_d[i] = d[to.row][to.column];
    }
    for (std::size_t i = 0; i < 2; ++i) {
      const Corner at = corners_of_b(lane)[i];
      own_b[i] = pair_of<T>(b[at.row][at.column], b[at.row + 1][at.column]);
    }
    cu::mma_16x8x16<T>(own_d, own_a, own_b[0], own_b[1]);
    for (std::size_t i = 0; i < 4; ++i) {
      const Corner at = elements_of_d(lane)[i];
      float expected = d[at.row][at.column];
      for (int k = 0; k < 16; ++k) expected += a[at.row][k] * b[k][at.column];
      EXPECT_EQ(own_d[i], expected) << "lane " << lane << " element " << i;
    }
  });
}

TEST(Emulation, AProductOfAWarpsFragments) {
  expect_product<BFloat16>();
  expect_product<Float16>();
  EXPECT_EQ(cu::pack_pair<Float16>(1.0F, -2.0F), 0xc0003c00U);
  EXPECT_EQ(cu::pack_pair<BFloat16>(1.0F, -2.0F), 0xc0003f80U);
}

TEST(Emulation, MatricesFromSharedMemory) {
  // Element (r, c) of matrix m is 100 m + 10 r + c; rows stand apart, last matrix first.
  run({"matrices", {1, 1, 1}, 32, 32 * 48}, [] {
    const int lane = static_cast<int>(threadIdx.x);
    const auto row_at = [](int matrix, int row) {
      return reinterpret_cast<std::uint16_t*>(emulation::shared_memory() +
                                              ((3 - matrix) * 8 + row) * 48);
    };
    for (int c = 0; c < 8; ++c) {
      row_at(lane / 8, lane % 8)[c] =
          static_cast<std::uint16_t>(lane / 8 * 100 + lane % 8 * 10 + c);
    }
    __syncwarp();
    unsigned plain[4], transposed[4];
    cu::ldmatrix_x4(plain, row_at(lane / 8, lane % 8));
    cu::ldmatrix_x4_transposed(transposed, row_at(lane / 8, lane % 8));
    for (unsigned m = 0; m < 4; ++m) {
      const unsigned r = threadIdx.x >> 2, c = (threadIdx.x & 3) << 1;
      EXPECT_EQ(plain[m], (100 * m + 10 * r + c) | (100 * m + 10 * r + c + 1) << 16);
      EXPECT_EQ(transposed[m], (100 * m + 10 * c + r) | (100 * m + 10 * (c + 1) + r) << 16);
    }
  });
}

TEST(Emulation, CopiesArriveWhenTheyAreWaitedFor) {
  alignas(16) const float from[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  run({"copies", {1, 1, 1}, 1, 48}, [&] {
    auto* to = reinterpret_cast<float*>(emulation::shared_memory());
    for (int i = 0; i < 12; ++i) to[i] = 9.0F;
    cu::copy_async(to, from, true);
    cu::copy_async(to + 4, from, false);
    cu::commit_copies();
    cu::copy_async(to + 8, from + 4, true);
    cu::commit_copies();
    for (int i = 0; i < 12; ++i) EXPECT_TRUE(std::isnan(to[i])) << i;
    cu::wait_copies<1>();
    for (int i = 0; i < 4; ++i) EXPECT_EQ(to[i], from[i]);
    for (int i = 4; i < 8; ++i) EXPECT_EQ(to[i], 0.0F);
    for (int i = 8; i < 12; ++i) EXPECT_TRUE(std::isnan(to[i])) << i;
    cu::wait_copies<0>();
    for (int i = 8; i < 12; ++i) EXPECT_EQ(to[i], from[i - 4]);
  });
}

TEST(Emulation, AMissingBarrierAfterCopiesReadsWhatHasNotArrived) {
  alignas(16) const float from[4] = {1, 2, 3, 4};
  int missing = 0;
  run({"race", {1, 1, 1}, 64, 64 * 16}, [&] {
    auto* to = reinterpret_cast<float*>(emulation::shared_memory());
    cu::copy_async(to + threadIdx.x * 4, from, true);
    cu::commit_copies();
    cu::wait_copies<0>();
    if (std::isnan(to[(63 - threadIdx.x) * 4])) ++missing;
  });
  EXPECT_GT(missing, 0);
}

TEST(Emulation, WhatTheHardwareWouldRefuseIsAnError) {
  alignas(16) static const float from[8] = {};
  const auto failure = [](std::size_t bytes, const std::function<void(float*)>& body) {
    return failure_of({"refused", {1, 1, 1}, 32, bytes},
                      [&] { body(reinterpret_cast<float*>(emulation::shared_memory())); });
  };
  const auto expect = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  unsigned out[4];
  expect(failure(64, [&](float* to) { cu::ldmatrix_x4(out, to + 1); }),
         "a row of a matrix at an address that is not a multiple of 16");
  expect(failure(64, [&](float* to) { cu::ldmatrix_x4(out, to + 16); }),
         "a row of a matrix outside shared memory");
  expect(failure(64, [](float* to) { cu::copy_async(to + 2, from, true); }),
         "a copy at an address that is not a multiple of 16");
  expect(failure(64, [](float* to) { cu::copy_async(to, from + 1, true); }),
         "from an address that is not a multiple of 16");
  expect(failure(64, [](float* to) { cu::copy_async(to, from, true); }),
         "ends without waiting for copies");
  expect(failure(std::size_t{100} << 10, [](float*) {}), "bytes of shared memory, of 101376");
}

}  // namespace
}  // namespace frugal::test
