#include <gtest/gtest.h>

#include "trainer/optim/learning_rate.h"

namespace frugal {
namespace {

float rate(const SchedulerConfig& scheduler, std::int64_t update) {
  OptimizerConfig optimizer;
  optimizer.learning_rate = 1.0;
  return learning_rate_at(optimizer, scheduler, 110, update);
}

TEST(LearningRate, WarmsUpLinearly) {
  const SchedulerConfig scheduler{.name = "cosine", .warmup_steps = 10};
  EXPECT_FLOAT_EQ(rate(scheduler, 1), 0.1F);
  EXPECT_FLOAT_EQ(rate(scheduler, 5), 0.5F);
  EXPECT_FLOAT_EQ(rate(scheduler, 10), 1.0F);
}

TEST(LearningRate, CosineIsHalfWayInTheMiddleAndEndsAtTheMinimum) {
  const SchedulerConfig scheduler{.name = "cosine", .warmup_steps = 10, .min_lr = 0.2};
  EXPECT_FLOAT_EQ(rate(scheduler, 60), 0.6F);
  EXPECT_FLOAT_EQ(rate(scheduler, 110), 0.2F);
  EXPECT_FLOAT_EQ(rate(scheduler, 200), 0.2F);
}

TEST(LearningRate, LinearIsAStraightLine) {
  const SchedulerConfig scheduler{.name = "linear", .warmup_steps = 10};
  EXPECT_FLOAT_EQ(rate(scheduler, 35), 0.75F);
  EXPECT_FLOAT_EQ(rate(scheduler, 110), 0.0F);
}

TEST(LearningRate, WsdStaysAndThenDecays) {
  const SchedulerConfig scheduler{.name = "wsd", .warmup_steps = 10, .decay_steps = 20};
  EXPECT_FLOAT_EQ(rate(scheduler, 90), 1.0F);
  EXPECT_FLOAT_EQ(rate(scheduler, 100), 0.5F);
  EXPECT_FLOAT_EQ(rate(scheduler, 110), 0.0F);
}

TEST(LearningRate, WithoutWarmUpTheFirstUpdateHasTheFullRateOfAConstant) {
  EXPECT_FLOAT_EQ(rate({.name = "constant"}, 1), 1.0F);
}

}  // namespace
}  // namespace frugal
