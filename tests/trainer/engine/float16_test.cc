// Training in float16 with a loss scale that moves.
#include <gtest/gtest.h>

#include <cmath>

#include "comm/world.h"
#include "kernels/core/threads.h"
#include "tests/equivalence/tiny_training.h"
#include "tests/support/tolerance.h"

namespace frugal::test {
namespace {

// The state after three updates at a loss scale.
std::map<std::string, Words> state_at_scale(const Config& config, float scale) {
  std::map<std::string, Words> out;
  run_ranks_as_threads(1, [&](std::unique_ptr<ProcessGroup> world) {
    set_compute_threads(1);
    DeviceMesh mesh(std::move(world), {});
    RankModel model(config, mesh);
    model.initialize(7);
    for (int update = 1; update <= 3; ++update) {
      model.train_step(update, 1e-3F, scale, tiny_batches(config, update));
    }
    out = tensors_of(model);
  });
  return out;
}

// Powers of two, exact on the way out and back: where nothing leaves float32's range, no bit knows.
TEST(LossScaling, ChangesNoBitInFloat32) {
  for (const std::string family : {"llama", "gpt2"}) {
    const Config config = with_layout(tiny_config(family, "fp32"), {});
    EXPECT_TRUE(state_at_scale(config, 1.0F) == state_at_scale(config, 4096.0F)) << family;
  }
}

// Losses within an epsilon of float16; gradient norms, which feel every weight, within 32 of them
// in the first half of the steps, before AdamW has made much of small differences.
TEST(Float16, FollowsFloat32) {
  const auto epsilon = static_cast<float>(epsilon_of(DType::kF16));
  for (const std::string family : {"llama", "gpt2"}) {
    Config config = tiny_config(family, "fp16");
    config.precision.initial_loss_scale = 1024;
    config.precision.loss_scale_window = kSteps + 1;
    const Outcome half = train(with_layout(config, {}));
    config.precision.compute = "fp32";
    const Outcome full = train(with_layout(config, {}));
    EXPECT_LT(full.losses.back(), full.losses.front() - 0.2F);
    EXPECT_EQ(half.scales, std::vector<float>(kSteps, 1024.0F));
    for (std::size_t i = 0; i < full.losses.size(); ++i) {
      SCOPED_TRACE(family + " step " + std::to_string(i + 1));
      EXPECT_NEAR(half.losses[i], full.losses[i], epsilon * full.losses[i]);
      if (i >= kSteps / 2) continue;
      EXPECT_NEAR(half.norms[i], full.norms[i], 32.0F * epsilon * full.norms[i]);
    }
  }
}

// The first updates overflow and leave no trace but half the scale; then the model learns, the
// scale doubles, overflows again and the training goes on.
TEST(Float16, SkipsWhatOverflowsAndTheScaleGrowsAgain) {
  const Config config = with_layout(tiny_config("llama", "fp16"), {});
  const Outcome run = train(config);
  const auto skipped = [&](std::size_t i) { return !std::isfinite(run.norms[i]); };
  EXPECT_EQ(run.scales.front(), static_cast<float>(config.precision.initial_loss_scale));
  int overflows_after_growth = 0;
  for (std::size_t i = 1; i < run.scales.size(); ++i) {
    const bool grown = run.scales[i] > run.scales[i - 1];
    EXPECT_EQ(skipped(i - 1), run.scales[i] < run.scales[i - 1]) << "step " << i;
    if (grown && skipped(i)) ++overflows_after_growth;
  }
  EXPECT_TRUE(skipped(0) && skipped(1));
  EXPECT_FALSE(skipped(4));
  EXPECT_GE(overflows_after_growth, 2);
  EXPECT_LT(run.losses.back(), run.losses.front() - 0.2F);
  EXPECT_TRUE(train(config, {.until = 2}).tensors == train(config, {.until = 0}).tensors);
}

}  // namespace
}  // namespace frugal::test
