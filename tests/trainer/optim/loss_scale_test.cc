#include "trainer/optim/loss_scale.h"

#include <gtest/gtest.h>

namespace frugal {
namespace {

const PrecisionConfig kFp16{.compute = "fp16", .initial_loss_scale = 1024, .loss_scale_window = 3};

TEST(LossScale, HalvesAtEveryOverflowAndDoublesAfterAWindowWithout) {
  LossScale scale = first_loss_scale(kFp16);
  EXPECT_EQ(scale.value, 1024.0F);
  const auto after = [&](bool skipped) {
    scale = next_loss_scale(scale, skipped, kFp16);
    return scale.value;
  };
  EXPECT_EQ(after(true), 512.0F);
  EXPECT_EQ(after(true), 256.0F);
  EXPECT_EQ(after(false), 256.0F);
  EXPECT_EQ(after(false), 256.0F);
  EXPECT_EQ(after(true), 128.0F);  // the window begins anew
  EXPECT_EQ(after(false), 128.0F);
  EXPECT_EQ(after(false), 128.0F);
  EXPECT_EQ(after(false), 256.0F);
  EXPECT_EQ(after(false), 256.0F);  // and after growth
  EXPECT_EQ(after(false), 256.0F);
  EXPECT_EQ(after(false), 512.0F);
}

TEST(LossScale, StopsAtTheLargestAndPassesTheLeast) {
  LossScale scale{.value = kLargestLossScale / 2.0F};
  for (int i = 0; i < 10; ++i) scale = next_loss_scale(scale, false, kFp16);
  EXPECT_EQ(scale.value, kLargestLossScale);
  for (int i = 0; i < 30; ++i) scale = next_loss_scale(scale, true, kFp16);
  EXPECT_EQ(scale.value, kLeastLossScale);
  EXPECT_LT(next_loss_scale(scale, true, kFp16).value, kLeastLossScale);
}

TEST(LossScale, IsOneInOtherPrecisions) {
  const PrecisionConfig bf16{.compute = "bf16", .initial_loss_scale = 1024};
  EXPECT_EQ(first_loss_scale(bf16).value, 1.0F);
  EXPECT_EQ(next_loss_scale({}, true, bf16).value, 1.0F);
  EXPECT_EQ(next_loss_scale({.good_updates = 5000}, false, bf16).value, 1.0F);
}

}  // namespace
}  // namespace frugal
