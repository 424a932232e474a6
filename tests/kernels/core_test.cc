#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <set>
#include <stdexcept>
#include <thread>

#include "kernels/core/rng.h"
#include "kernels/core/slot_pool.h"
#include "kernels/core/stream.h"
#include "kernels/core/threads.h"
#include "kernels/core/workspace.h"
#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

TEST(Stream, ThreadedKeepsOrderAndReportsAFailureOnce) {
  const auto stream = make_stream({}, "test", StreamMode::kThreaded);
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) stream->run_host([&order, i] { order.push_back(i); });
  stream->synchronize();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);

  bool ran_after_failure = false;
  stream->run_host([] { throw std::runtime_error("broken"); });
  stream->run_host([&] { ran_after_failure = true; });
  EXPECT_THROW(stream->synchronize(), std::runtime_error);
  EXPECT_FALSE(ran_after_failure);
  stream->run_host([&] { ran_after_failure = true; });
  stream->synchronize();
  EXPECT_TRUE(ran_after_failure);
}

TEST(Stream, EventsOrderStreamsAndCarryFailures) {
  const auto first = make_stream({}, "first", StreamMode::kThreaded);
  const auto second = make_stream({}, "second", StreamMode::kThreaded);
  std::atomic<bool> open = false;
  int value = 0;
  first->run_host([&] {
    while (!open) std::this_thread::yield();
    value = 1;
  });
  Event event;
  first->record(event);
  EXPECT_FALSE(event.done());
  int seen = -1;
  second->wait(event);
  second->run_host([&] { seen = value; });
  open = true;
  second->synchronize();
  EXPECT_EQ(seen, 1);

  first->run_host([] { throw std::runtime_error("broken"); });
  Event failed;
  first->record(failed);
  second->wait(failed);
  EXPECT_THROW(second->synchronize(), std::runtime_error);
  EXPECT_THROW(first->synchronize(), std::runtime_error);
}

TEST(Stream, ItsThreadIsOfTheSameRankAndWidth) {
  const int before = compute_threads();
  set_thread_rank(5);
  set_compute_threads(before + 2);
  int rank = 0, threads = 0;
  const auto stream = make_stream({}, "test", StreamMode::kThreaded);
  stream->run_host([&] {
    rank = thread_rank();
    threads = compute_threads();
  });
  stream->synchronize();
  EXPECT_EQ(rank, 5);
  EXPECT_EQ(threads, compute_threads());
  set_thread_rank(-1);
  set_compute_threads(before);
}

TEST(Stream, InlineRunsInsideTheCallAndThrowsFromIt) {
  const auto stream = make_stream({}, "test");
  int value = 0;
  stream->run_host([&] { value = 1; });
  EXPECT_EQ(value, 1);
  EXPECT_THROW(stream->run_host([] { throw std::runtime_error("broken"); }), std::runtime_error);
  stream->synchronize();
  Event event;
  stream->record(event);
  EXPECT_TRUE(event.done());
  // It is its caller, so waiting for another stream means blocking until that has got there.
  const auto other = make_stream({}, "other", StreamMode::kThreaded);
  other->run_host([&] { value = 2; });
  other->record(event);
  stream->wait(event);
  EXPECT_EQ(value, 2);
}

TEST(Stream, PlanningRunsNothing) {
  const auto stream = make_planning_stream({});
  stream->run_host([] { FAIL(); });
  ops::add(*stream, Tensor{nullptr, {3}, DType::kF32, {}}, Tensor{nullptr, {3}, DType::kF32, {}},
           Tensor{nullptr, {3}, DType::kF32, {}});
}

TEST(Arena, CountsLikeItAllocates) {
  Arena counting = Arena::counting({});
  EXPECT_EQ(counting.allocate("a", {3}, DType::kF32).data, nullptr);
  counting.allocate("b", {100}, DType::kBF16);
  Arena real({}, counting.used());
  const Tensor a = real.allocate("a", {3}, DType::kF32);
  const Tensor b = real.allocate("b", {100}, DType::kBF16);
  EXPECT_EQ(real.used(), counting.used());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data) % kAlignment, 0U);
  EXPECT_EQ(a.as<float>()[2], 0.0F);
  EXPECT_THROW(real.allocate("c", {1}, DType::kF32), Error);
}

TEST(Arena, MirrorsOnTheHostWhatLiesElsewhere) {
  Arena host({}, 256);
  const Tensor there{nullptr, {5, 3}, DType::kF32, {DeviceType::kCuda, 0}};
  const Tensor mirror = host.mirror("there", there);
  EXPECT_EQ(mirror.shape, there.shape);
  EXPECT_EQ(mirror.dtype, there.dtype);
  EXPECT_EQ(mirror.device, Device{});
  mirror.as<float>()[14] = 1.0F;
  EXPECT_EQ(host.mirror("here", mirror).data, mirror.data);
  EXPECT_EQ(host.used(), 64U);
}

TEST(Workspace, GivesBackAndRemembersTheHighWater) {
  Arena arena({}, 1024);
  Workspace workspace(arena, 256);
  {
    const Workspace::Mark mark(workspace);
    workspace.allocate({32}, DType::kF32);
    workspace.allocate({32}, DType::kF32);
    EXPECT_THROW(workspace.allocate({1}, DType::kF32), Error);
  }
  workspace.allocate({64}, DType::kF32);
  EXPECT_EQ(workspace.high_water(), 256U);
  Workspace counting = Workspace::counting({});
  EXPECT_EQ(counting.allocate({1000}, DType::kF32).data, nullptr);
  EXPECT_EQ(counting.high_water(), 4032U);
}

TEST(SlotPool, HandsOutEachSlotOnce) {
  Arena arena({}, 4096);
  SlotPool pool(arena, "slots", 100, 2);
  const int a = pool.acquire();
  const int b = pool.acquire();
  EXPECT_NE(a, b);
  EXPECT_THROW(pool.acquire(), Error);
  EXPECT_NE(pool.view(a, 0, {25}, DType::kF32).data, pool.view(b, 0, {25}, DType::kF32).data);
  EXPECT_THROW(pool.view(a, 64, {25}, DType::kF32), Error);
  pool.release(a);
  EXPECT_EQ(pool.acquire(), a);
}

// Known answers published with the generator (Random123's kat_vectors).
TEST(Rng, PhiloxKnownAnswers) {
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32(0, 0, 0), (Words{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}));
  constexpr std::uint64_t kOnes = ~std::uint64_t{0};
  EXPECT_EQ(philox4x32(kOnes, kOnes, kOnes),
            (Words{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU}));
  EXPECT_EQ(philox4x32(0x299f31d0a4093822U, 0x85a308d3243f6a88U, 0x0370734413198a2eU),
            (Words{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}));
}

// A difference in any bit of any part of a key counts.
TEST(Rng, KeysUseEveryBit) {
  std::set<std::uint64_t> keys{rng_key(1, 2, 0, 0)};
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t one = std::uint64_t{1} << bit;
    keys.insert({rng_key(1 ^ one, 2, 0, 0), rng_key(1, 2 ^ one, 0, 0), rng_key(1, 2, one, 0),
                 rng_key(1, 2, 0, one)});
  }
  EXPECT_EQ(keys.size(), 1U + 4 * 64);
}

TEST(Rng, NormalHasMeanZeroAndVarianceOne) {
  double sum = 0.0;
  double squares = 0.0;
  constexpr int kCount = 100000;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const auto x = static_cast<double>(normal_at(5, i));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kCount, 0.0, 5.0 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1.0, 8.0 / std::sqrt(kCount));
}

TEST(Float16, HoldsEveryCodeAndRoundsMidpointsToEven) {
  // Codes of one sign are in the order of their values, and an even code has an even fraction.
  for (std::uint32_t code = 0; code < 0x7c00U; ++code) {
    Float16 low;
    low.bits = static_cast<std::uint16_t>(code);
    const auto value = static_cast<float>(low);
    ASSERT_EQ(Float16(value).bits, code);
    ASSERT_EQ(Float16(-value).bits, code | 0x8000U);
    Float16 high;
    high.bits = static_cast<std::uint16_t>(code + 1);
    // Above the largest number comes what would be 2^16.
    const float next = code + 1 < 0x7c00U ? static_cast<float>(high) : 65536.0F;
    const float middle = 0.5F * value + 0.5F * next;  // exact
    ASSERT_EQ(Float16(middle).bits, code % 2 == 0 ? code : code + 1);
    ASSERT_EQ(Float16(std::nextafterf(middle, 0.0F)).bits, code);
    ASSERT_EQ(Float16(std::nextafterf(middle, 1e9F)).bits, code + 1);
  }
  EXPECT_EQ(static_cast<float>(Float16(1.0F + 3.0F / 1024.0F)), 1.0F + 3.0F / 1024.0F);
  EXPECT_EQ(static_cast<float>(Float16(5.9604644775390625e-8F)), 5.9604644775390625e-8F);
  EXPECT_TRUE(std::isnan(static_cast<float>(Float16(std::nanf("")))));
  EXPECT_TRUE(std::isinf(static_cast<float>(Float16(1e6F))));
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(BFloat16(1.0F).bits, 0x3f80);
  EXPECT_EQ(static_cast<float>(BFloat16(1.0F + 1.0F / 256.0F)), 1.0F);  // tie, to even
  EXPECT_EQ(static_cast<float>(BFloat16(1.0F + 3.0F / 256.0F)),
            1.0F + 4.0F / 256.0F);  // tie, to even
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::nanf("")))));
  EXPECT_TRUE(std::isinf(static_cast<float>(BFloat16(3.4e38F))));
}

TEST(Tensor, SlicesAndChecks) {
  std::array<float, 12> memory{};
  const Tensor t{reinterpret_cast<std::byte*>(memory.data()), {4, 3}, DType::kF32, {}};
  EXPECT_EQ(t.slice(1, 3).as<float>(), memory.data() + 3);
  EXPECT_THROW(t.slice(2, 5), Error);
  EXPECT_THROW(t.reshape({5}), Error);
  EXPECT_THROW(t.as<BFloat16>(), Error);
}

}  // namespace
}  // namespace frugal
