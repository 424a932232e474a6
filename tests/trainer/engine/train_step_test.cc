// What one update does with the gradients of all ranks: weighs, measures, clips, refuses.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <mutex>
#include <optional>

#include "comm/lone_world.h"
#include "comm/world.h"
#include "kernels/core/threads.h"
#include "tests/equivalence/tiny_training.h"

namespace frugal::test {
namespace {

std::vector<Layout> some_layouts() {
  return {{},
          {.data = 4, .zero_stage = 0},
          {.pipeline = 3, .schedule = "zb_h1"},
          {.tensor = 2},
          {.data = 2, .pipeline = 2, .tensor = 2}};
}

// AdamW's first moment after one update is (1 - beta1) times the gradient that it was given.
double given_gradient_norm(const Outcome& outcome, double beta1) {
  double sum = 0.0;
  for (const auto& [name, words] : outcome.tensors) {
    if (!name.starts_with("exp_avg/")) continue;
    for (const std::uint32_t word : words) {
      const auto value = static_cast<double>(std::bit_cast<float>(word));
      sum += value * value;
    }
  }
  return std::sqrt(sum) / (1.0 - beta1);
}

TEST(TrainStep, TheGradientsNormIsTheReportedOneUpToTheClip) {
  for (const std::string family : {"llama", "gpt2"}) {
    for (const Layout& layout : some_layouts()) {
      SCOPED_TRACE(family + " " + describe(layout));
      Config config = tiny_config(family, "fp32");
      config.optimizer.grad_clip = 0.0;
      const Outcome free = train(with_layout(config, layout), {.until = 1});
      const double norm = free.norms.at(0);
      EXPECT_NEAR(given_gradient_norm(free, config.optimizer.beta1), norm, 1e-5 * norm);
      config.optimizer.grad_clip = norm / 3.0;
      const Outcome clipped = train(with_layout(config, layout), {.until = 1});
      EXPECT_EQ(clipped.norms, free.norms);
      EXPECT_NEAR(given_gradient_norm(clipped, config.optimizer.beta1), norm / 3.0, 1e-5 * norm);
      config.optimizer.grad_clip = norm * 3.0;
      const Outcome below = train(with_layout(config, layout), {.until = 1});
      EXPECT_EQ(difference(free, below), "");
    }
  }
}

// Micro-batches with few targets count as little as they hold: any division of the same sequences,
// down to one micro-batch of all, is the same training.
TEST(TrainStep, AccumulationWeighsTokens) {
  for (const std::string family : {"llama", "gpt2"}) {
    Config whole = tiny_config(family, "fp32");
    whole.batch.micro_batch_size = whole.batch.global_batch_size;
    whole.train.lanes = 1;
    const Leg few{.until = 6};
    const Outcome expected = train(with_layout(whole, {}), few);
    for (const auto& [rows, layout] :
         {std::pair{1, Layout{}}, {3, Layout{.data = 4}}, {6, Layout{.data = 2, .pipeline = 2}}}) {
      SCOPED_TRACE(family + " micro-batches of " + std::to_string(rows));
      Config config = tiny_config(family, "fp32");
      config.batch.micro_batch_size = rows;
      config.train.lanes = 4;
      const Outcome actual = train(with_layout(config, layout), few);
      for (std::size_t i = 0; i < expected.losses.size(); ++i) {
        EXPECT_NEAR(actual.losses[i], expected.losses[i], 1e-5F * expected.losses[i]) << i;
        EXPECT_NEAR(actual.norms[i], expected.norms[i], 1e-4F * expected.norms[i]) << i;
      }
    }
  }
}

// One sequence that holds several texts, or a sequence for each with nothing after it.
std::vector<StepResult> train_texts(Config config, bool packed) {
  const std::vector<std::vector<std::int32_t>> texts{{3, 1, 4, 1, 5}, {9, 2, 6}};
  const auto length = static_cast<std::size_t>(config.data.sequence_length);
  std::vector<std::int32_t> inputs, targets, starts;
  for (const auto& text : texts) {
    const auto start = static_cast<std::int32_t>(packed ? inputs.size() : 0);
    for (std::size_t t = 0; t < text.size(); ++t) {
      inputs.push_back(text[t]);
      targets.push_back(t + 1 < text.size() ? text[t + 1] : 0);
      starts.push_back(start);
    }
    while (!packed && inputs.size() % length != 0) {
      inputs.push_back(7);
      targets.push_back(-1);
      starts.push_back(start);
    }
  }
  config.batch = {.micro_batch_size = 1,
                  .global_batch_size = static_cast<int>(inputs.size() / length)};
  config.train.lanes = 1;
  config = with_layout(config, {});
  DeviceMesh mesh(make_lone_world()->group(), {});
  RankModel model(config, mesh);
  model.initialize(7);
  std::vector<StepResult> out;
  for (int update = 1; update <= 3; ++update) {
    out.push_back(model.train_step(update, 1e-2F, 1.0F, [&](int index) {
      const auto row = [&](const std::vector<std::int32_t>& all) {
        return std::span(all).subspan(static_cast<std::size_t>(index) * length, length);
      };
      return HostMicrobatch{row(inputs), row(targets), row(starts)};
    }));
  }
  return out;
}

// Attention stays inside a text and its positions begin anew, learned ones too.
TEST(TrainStep, PackedTextsAreTrainedAsIfEachWereAlone) {
  for (const std::string family : {"llama", "gpt2", "qwen3"}) {
    SCOPED_TRACE(family);
    const Config config = tiny_config(family, "fp32");
    const auto packed = train_texts(config, true), alone = train_texts(config, false);
    for (std::size_t i = 0; i < packed.size(); ++i) {
      EXPECT_EQ(packed[i].target_tokens, 8);
      EXPECT_NEAR(packed[i].loss, alone[i].loss, 1e-5F * alone[i].loss) << i;
      EXPECT_NEAR(packed[i].grad_norm, alone[i].grad_norm, 1e-4F * alone[i].grad_norm) << i;
    }
  }
}

// Trains three updates. Before the second one the last rank's first weight is spoiled, if asked
// for, and mended when the update has been refused and is tried again.
Outcome train_with_accident(const Config& config, std::optional<float> bad) {
  Outcome out;
  std::mutex mutex;
  const auto& p = config.parallelism;
  const int ranks = *p.data * p.pipeline * p.tensor;
  run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
    set_compute_threads(1);
    const bool spoils = world->rank() == ranks - 1;
    DeviceMesh mesh(std::move(world),
                    {.pipeline = p.pipeline, .data = *p.data, .tensor = p.tensor});
    RankModel model(config, mesh);
    model.initialize(7);
    const auto step = [&](std::int64_t update) {
      return model.train_step(update, 1e-3F, 1.0F, tiny_batches(config, update));
    };
    step(1);
    if (bad.has_value()) {
      float& weight = *model.params().weight(0).as<float>();
      const auto before = tensors_of(model);
      const float good = weight;
      if (spoils) weight = *bad;
      const StepResult refused = step(2);
      weight = good;
      if (!refused.skipped || std::isfinite(refused.grad_norm)) {
        throw std::runtime_error("the update was made");
      }
      if (tensors_of(model) != before) throw std::runtime_error("state has changed");
    }
    if (step(2).skipped) throw std::runtime_error("a finite update was refused");
    step(3);
    const std::lock_guard lock(mutex);
    for (const auto& [name, words] : tensors_of(model)) out.tensors.emplace(name, words);
  });
  return out;
}

TEST(TrainStep, ANonFiniteGradientOnOneRankIsRefusedByAllAndLeavesNoTrace) {
  for (const Layout& layout : some_layouts()) {
    SCOPED_TRACE(describe(layout));
    const Config config = with_layout(tiny_config("gpt2", "fp32"), layout);
    const Outcome expected = train_with_accident(config, std::nullopt);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      EXPECT_EQ(difference(expected, train_with_accident(config, bad)), "");
    }
  }
}

}  // namespace
}  // namespace frugal::test
