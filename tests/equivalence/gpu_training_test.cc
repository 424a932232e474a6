// The tiny training on a GPU: near the CPU's numbers in float32, its own bits again in every
// precision, with and without graphs, across a checkpoint and on ranks as threads, which share one
// GPU or have one each. For a machine that has a GPU: ends
// with 77, "skipped", where there is none.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <map>
#include <vector>

#include "kernels/ops/op_table.h"
#include "tests/equivalence/tiny_training.h"
#include "trainer/checkpoint/checkpoint.h"

namespace frugal::test {
namespace {

constexpr Device kGpu{DeviceType::kCuda, 0};

Config config_for(const std::string& family, const std::string& precision) {
  Config config = tiny_config(family, precision);
  config.batch.global_batch_size = 8;
  return with_layout(config, {});
}

// The GPU's products sum in another order, and the difference grows from step to step.
TEST(Gpu, TrainsNearTheCpuInFloat32) {
  for (const std::string family : {"llama", "gpt2"}) {
    const Config config = config_for(family, "fp32");
    const Outcome cpu = train(config), gpu = train(config, {.device = kGpu});
    ASSERT_EQ(gpu.losses.size(), cpu.losses.size());
    for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
      EXPECT_NEAR(gpu.losses[i], cpu.losses[i], 1e-4F * cpu.losses[i]) << family << " step " << i;
      EXPECT_NEAR(gpu.norms[i], cpu.norms[i], 1e-3F * cpu.norms[i]) << family << " step " << i;
    }
  }
}

// Ten bits of fraction in every factor.
TEST(Gpu, TrainsNearTheCpuInTf32) {
  Config config = config_for("llama", "fp32");
  config.precision.tf32 = true;
  const Outcome cpu = train(config), gpu = train(config, {.device = kGpu});
  config.precision.tf32 = false;
  EXPECT_NE(train(config, {.device = kGpu}).losses, gpu.losses) << "are these products in TF32?";
  ASSERT_EQ(gpu.losses.size(), cpu.losses.size());
  for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
    EXPECT_NEAR(gpu.losses[i], cpu.losses[i], 5e-3F * cpu.losses[i]) << "step " << i;
  }
}

class GpuBits : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(GpuBits, AreTheSameAgain) {
  const auto& [family, precision] = GetParam();
  Config config = config_for(family, precision.substr(0, 4));
  if (precision == "bf16_plain") {  // which cuDNN takes
    config.data.document_mask = false;
    config.model.head_dim = 64;
  }
  const Outcome first = train(config, {.device = kGpu});
  const float least = precision == "fp16" ? 0.05F : 0.2F;  // there half of the updates overflow
  EXPECT_LT(first.losses.back(), first.losses.front() - least);
  EXPECT_EQ(difference(first, train(config, {.device = kGpu})), "");
  config.train.cuda_graph = false;
  EXPECT_EQ(difference(first, train(config, {.device = kGpu})), "") << "without graphs";
  const std::string root = testing::TempDir() + "frugal_gpu_" + std::to_string(getpid());
  train(config, {.until = kSteps / 2, .save_under = root, .device = kGpu});
  const Outcome resumed =
      train(config, {.resume_from = list_checkpoints(root).at(0), .device = kGpu});
  std::filesystem::remove_all(root);
  EXPECT_EQ(difference(first, resumed), "") << "resumed";
}

// Every axis and schedule against one rank; across the tensor axis against the same one.
TEST(Gpu, RanksHaveTheBitsOfOne) {
  std::vector<Layout> layouts;
  for (const Layout& layout : covering_layouts()) {
    if (layout.ranks() <= 8) layouts.push_back(layout);
  }
  layouts.push_back({.tensor = 2});
  layouts.push_back({.data = 2, .pipeline = 2, .tensor = 2, .schedule = "zb_h1"});
  std::map<std::string, Outcome> alone;
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    const Layout& layout = layouts[i];
    const std::string family = i % 2 == 0 ? "llama" : "gpt2";
    SCOPED_TRACE(concat(family, ", ", describe(layout)));
    Config config = tiny_config(family, "bf16");
    config.batch.global_batch_size = layout.microbatches();
    const Leg leg{.until = 8, .device = kGpu};
    const auto [expected, added] =
        alone.try_emplace(concat(family, layout.microbatches(), " ", layout.tensor));
    if (added) expected->second = train(with_layout(config, {.tensor = layout.tensor}), leg);
    EXPECT_EQ(difference(expected->second, train(with_layout(config, layout), leg)), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, GpuBits,
                         testing::Values(std::pair("llama", "fp32"), std::pair("llama", "bf16"),
                                         std::pair("gpt2", "fp32"), std::pair("gpt2", "bf16"),
                                         std::pair("llama", "fp16"),
                                         std::pair("llama", "bf16_plain")),
                         [](const auto& info) {
                           return info.param.first + "_" + info.param.second;
                         });

}  // namespace
}  // namespace frugal::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (frugal::cu::table() == nullptr) {
    std::cerr << "skipped: " << frugal::cu::missing() << "\n";
    return 77;
  }
  return RUN_ALL_TESTS();
}
