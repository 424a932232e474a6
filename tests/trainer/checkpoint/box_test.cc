#include "trainer/checkpoint/box.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"

namespace frugal {
namespace {

// How often each element of global is in a box.
std::vector<int> counts(const Shape& global, const std::vector<Box>& boxes) {
  std::vector<int> count(static_cast<std::size_t>(global.numel()));
  for (const Box& box : boxes) {
    for_each_common_run(box, {{}, global}, [&](std::int64_t, std::int64_t to, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) ++count[static_cast<std::size_t>(to + i)];
    });
  }
  return count;
}

Box random_box(const Shape& global, std::mt19937& random) {
  Box box{{}, global};
  for (std::size_t d = 0; d < static_cast<std::size_t>(global.rank); ++d) {
    const std::int64_t a = random() % static_cast<unsigned>(global.dim[d] + 1);
    const std::int64_t b = random() % static_cast<unsigned>(global.dim[d] + 1);
    box.offset[d] = std::min(a, b);
    box.extent.dim[d] = std::max(a, b) - box.offset[d];
  }
  return box;
}

// Cuts a box at a random place of a random dimension, `depth` times.
void cut(const Box& box, int depth, std::mt19937& random, std::vector<Box>& out) {
  const auto d = random() % static_cast<unsigned>(box.extent.rank);
  if (depth == 0 || box.extent.dim[d] < 2) {
    out.push_back(box);
    return;
  }
  const std::int64_t at = 1 + random() % static_cast<unsigned>(box.extent.dim[d] - 1);
  Box low = box, high = box;
  low.extent.dim[d] = at;
  high.offset[d] += at;
  high.extent.dim[d] -= at;
  cut(low, depth - 1, random, out);
  cut(high, depth - 1, random, out);
}

TEST(Box, CornersKnowCoversAsCountingDoes) {
  std::mt19937 random(1);
  int covers = 0;
  for (int round = 0; round < 4000; ++round) {
    const Shape global = round % 2 == 0 ? Shape{4, 3} : Shape{2, 3, 2};
    std::vector<Box> boxes;
    cut({{}, global}, 3, random, boxes);
    switch (round % 5) {
      case 1:
        boxes.pop_back();
        break;
      case 2:
        boxes.push_back(random_box(global, random));
        break;
      case 3:
        boxes[random() % boxes.size()] = random_box(global, random);
        break;
      case 4:  // one gap and one overlap of the same size
        boxes.back() = boxes.front();
        break;
      default:
        break;
    }
    const std::vector<int> count = counts(global, boxes);
    const bool once = std::all_of(count.begin(), count.end(), [](int n) { return n == 1; });
    covers += once ? 1 : 0;
    ASSERT_EQ(covers_once(global, boxes), once) << round;
  }
  EXPECT_GT(covers, 800);
  EXPECT_LT(covers, 3000);
}

TEST(Box, RunsBecomeFewBoxesInOrder) {
  std::mt19937 random(2);
  const Shape globals[] = {{}, {17}, {5, 7}, {3, 4, 5}, {2, 3, 2, 3}, {4, 1, 3}};
  for (const Shape& global : globals) {
    for (int round = 0; round < 300; ++round) {
      const Box box = round % 2 == 0 ? Box{{}, global} : random_box(global, random);
      const std::int64_t elements = box.extent.numel();
      const std::int64_t a = random() % static_cast<unsigned>(elements + 1);
      const std::int64_t b = random() % static_cast<unsigned>(elements + 1);
      TensorRun run{"t", global, box.offset, box.extent, std::min(a, b), std::max(a, b), {}};
      // The values are the positions in the box.
      std::vector<std::int32_t> values(static_cast<std::size_t>(run.end - run.begin) + 1);
      std::iota(values.begin(), values.end(), static_cast<std::int32_t>(run.begin));
      run.local = {
          reinterpret_cast<std::byte*>(values.data()), {run.end - run.begin}, DType::kI32, {}};
      std::int64_t next = run.begin;
      const auto slices = slices_of_run(run);
      EXPECT_LE(slices.size(), static_cast<std::size_t>(std::max(1, 2 * global.rank - 1)));
      for (const TensorSlice& slice : slices) {
        ASSERT_TRUE(contains(global, {slice.offset, slice.local.shape}));
        for_each_common_run({slice.offset, slice.local.shape}, box,
                            [&](std::int64_t from, std::int64_t to, std::int64_t n) {
                              for (std::int64_t i = 0; i < n; ++i, ++next) {
                                ASSERT_EQ(to + i, next);
                                ASSERT_EQ(slice.local.as<std::int32_t>()[from + i], next);
                              }
                            });
      }
      EXPECT_EQ(next, run.end);
    }
  }
}

TEST(Box, SizesAreCheckedBeforeTheyAreMultiplied) {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(checked_numel({1LL << 56}), 1LL << 56);
  EXPECT_FALSE(checked_numel({(1LL << 56) + 1}));
  EXPECT_FALSE(checked_numel({kHuge, kHuge}));
  EXPECT_FALSE(checked_numel({1LL << 32, 1LL << 32}));
  EXPECT_FALSE(checked_numel({0, kHuge, kHuge}));
  EXPECT_FALSE(checked_numel({-1}));
  EXPECT_EQ(checked_numel({}), 1);
  EXPECT_FALSE(contains({4}, {{kHuge}, {1}}));
  EXPECT_FALSE(contains({4}, {{3}, {2}}));
  EXPECT_FALSE(contains({4}, {{-1}, {2}}));
  EXPECT_FALSE(contains({4}, {{0}, {2, 2}}));
  EXPECT_TRUE(contains({4}, {{3}, {1}}));
}

}  // namespace
}  // namespace frugal
