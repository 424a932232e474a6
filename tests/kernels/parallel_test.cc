#include "kernels/cpu/parallel.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

#include "kernels/core/threads.h"

namespace frugal::cpu {
namespace {

std::set<std::thread::id> threads_of(std::int64_t count, std::int64_t cost) {
  std::mutex mutex;
  std::set<std::thread::id> out;
  parallel_for(count, cost, [&](std::int64_t) {
    const std::lock_guard lock(mutex);
    out.insert(std::this_thread::get_id());
  });
  return out;
}

TEST(Parallel, LittleWorkStaysOnTheCallersThread) {
  const int before = compute_threads();
  set_compute_threads(4);
  EXPECT_EQ(threads_of(1000, 1), std::set{std::this_thread::get_id()});
  EXPECT_EQ(threads_of(1, 1000000), std::set{std::this_thread::get_id()});
  EXPECT_EQ(threads_of(1000, 1000).size(), static_cast<std::size_t>(compute_threads()));
  set_compute_threads(before);
}

}  // namespace
}  // namespace frugal::cpu
