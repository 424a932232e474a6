// Training with moments in bfloat16 and without master weights follows float32; with weights
// rounded to nearest it would not.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "comm/world.h"
#include "kernels/core/threads.h"
#include "tests/equivalence/tiny_training.h"
#include "tests/support/tolerance.h"

namespace frugal::test {
namespace {

constexpr int kUpdates = 150;
// Small against the last bit of most weights in bfloat16, as late in every training.
constexpr float kRate = 1e-4F;

// As if there were no master weights and the weights were rounded to nearest.
void round_masters(const RankModel& model) {
  for (const TensorRun& run : model.state_runs(false)) {
    if (!run.name.starts_with("master/")) continue;
    auto* master = run.local.as<float>();
    for (std::int64_t i = 0; i < run.local.numel(); ++i) {
      master[i] = static_cast<float>(BFloat16(master[i]));
    }
  }
}

struct Learned {
  std::vector<float> losses;
  Words norm;  // the last norm's weights, which are 1 at first
};

// The same batch all the time, so that losses can be compared.
Learned learn(const std::string& precision, bool to_nearest = false) {
  Config config = tiny_config("llama", precision);
  config.batch.global_batch_size = 8;
  config = with_layout(config, {});
  Learned out;
  run_ranks_as_threads(1, [&](std::unique_ptr<ProcessGroup> world) {
    set_compute_threads(1);
    DeviceMesh mesh(std::move(world), {});
    RankModel model(config, mesh);
    model.initialize(7);
    for (int update = 1; update <= kUpdates; ++update) {
      out.losses.push_back(model.train_step(update, kRate, 1.0F, tiny_batches(config, 0)).loss);
      if (to_nearest) round_masters(model);
    }
    out.norm = tensors_of(model).at("weight/model.norm.weight");
  });
  return out;
}

float largest_distance(const std::vector<float>& a, const std::vector<float>& b) {
  float out = 0.0F;
  for (std::size_t i = 0; i < a.size(); ++i) out = std::max(out, std::abs(a[i] - b[i]) / b[i]);
  return out;
}

TEST(LeanState, FollowsFloat32AsRoundingToNearestDoesNot) {
  const auto epsilon = static_cast<float>(epsilon_of(DType::kBF16));
  const Learned full = learn("fp32"), state = learn("bf16_state"), lean = learn("bf16_lean"),
                nearest = learn("bf16", true);
  EXPECT_LT(full.losses.back(), full.losses.front() - 0.5F);
  EXPECT_LT(largest_distance(state.losses, full.losses), epsilon / 4.0F);
  EXPECT_LT(largest_distance(lean.losses, full.losses), epsilon / 4.0F);
  EXPECT_GT(nearest.losses.back(), full.losses.back() * (1.0F + 2.0F * epsilon));
  // Half of the last bit below 1 is 2^-9, more than the rate: a norm would never learn.
  const auto ones = [](const Words& bits) { return std::ranges::count(bits, 0x3f80U); };
  EXPECT_EQ(ones(nearest.norm), std::ssize(nearest.norm));
  EXPECT_LT(ones(lean.norm), std::ssize(lean.norm) / 4);
}

}  // namespace
}  // namespace frugal::test
