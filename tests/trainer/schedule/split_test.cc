#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

TEST(SplitByCost, MinimisesTheLargestPart) {
  EXPECT_EQ(split_by_cost({1, 1, 1, 1}, 2), (std::vector<int>{2, 2}));
  EXPECT_EQ(split_by_cost({0.1, 1, 1, 1, 1, 2}, 2), (std::vector<int>{4, 2}));
  EXPECT_EQ(split_by_cost({5, 1, 1}, 3), (std::vector<int>{1, 1, 1}));
  EXPECT_THROW(split_by_cost({1}, 2), ScheduleError);
  std::mt19937 random(2);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> costs(7);
    for (double& cost : costs) cost = static_cast<double>(1 + random() % 9);
    const auto sizes = split_by_cost(costs, 3);
    const auto part = [&](int begin, int end) {
      return std::accumulate(costs.begin() + begin, costs.begin() + end, 0.0);
    };
    const double got = std::max(
        {part(0, sizes[0]), part(sizes[0], sizes[0] + sizes[1]), part(sizes[0] + sizes[1], 7)});
    double best = 1e9;
    for (int a = 1; a < 6; ++a) {
      for (int b = a + 1; b < 7; ++b)
        best = std::min(best, std::max({part(0, a), part(a, b), part(b, 7)}));
    }
    EXPECT_EQ(got, best);
  }
}

}  // namespace
}  // namespace frugal
