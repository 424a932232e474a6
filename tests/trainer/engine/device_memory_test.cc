// The host touches no device memory: a training on a device that would not survive it, against the
// CPU.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "kernels/core/arena.h"
#include "kernels/ops/elementwise.h"
#include "tests/equivalence/tiny_training.h"
#include "tests/support/emulated_cuda.h"
#include "tests/support/guarded_device.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/engine/rank_place.h"
#include "trainer/engine/train.h"

namespace frugal::test {
namespace {

class DeviceMemory : public testing::Test {
 protected:
  void SetUp() override { install_guarded_device(cpu::table); }
};

TEST_F(DeviceMemory, IsGuardedHere) {
  Arena arena(kGuarded, 64);
  const Tensor there = arena.allocate("there", {1}, DType::kF32);
  float value = 1.0F;
  const Tensor here{reinterpret_cast<std::byte*>(&value), {1}, DType::kF32, {}};
  const auto stream = make_stream(kGuarded, "test");
  ops::fill(*stream, there, 2.0F);
  ops::copy(*stream, here, there);
  EXPECT_EQ(value, 1.0F);  // nobody has waited
  stream->synchronize();
  EXPECT_EQ(value, 2.0F);
  EXPECT_DEATH(*there.as<float>() = 3.0F, "");
}

// Trains, evaluates, generates, saves; goes on from the checkpoint, on either side.
void check_training(const std::string& family, const std::string& precision) {
  Config config = tiny_config(family, precision);
  config.model.vocab_size = 33001;  // state does not fit the staging memory whole
  config.batch.global_batch_size = 8;
  config = with_layout(config, {});
  const std::string root =
      testing::TempDir() + "frugal_device_memory_" + std::to_string(getpid()) + family;
  const Outcome expected = train(config, {.until = 8});
  const Outcome first = train(config, {.until = 7, .save_under = root, .device = kGuarded});
  const std::string checkpoint = list_checkpoints(root).at(0);
  const Outcome resumed =
      train(config, {.resume_from = checkpoint, .until = 8, .device = kGuarded});
  const Outcome elsewhere = train(config, {.resume_from = checkpoint, .until = 8});
  std::filesystem::remove_all(root);
  EXPECT_EQ(first.inference, expected.inference);
  EXPECT_EQ(difference(expected, resumed), "");
  EXPECT_EQ(difference(expected, elsewhere), "");
  EXPECT_TRUE(std::equal(first.losses.begin(), first.losses.end(), expected.losses.begin()));
}

TEST_F(DeviceMemory, IsLeftAloneByTheTrainer) {
  check_training("llama", "bf16");
  check_training("gpt2", "fp32");
}

// The CUDA backend's kernels, emulated, in a whole training: near the CPU's numbers, and the same
// bits again.
TEST_F(DeviceMemory, TrainsWithCudaKernels) {
  install_guarded_device(emulated_cuda_table());
  for (const std::string family : {"llama", "gpt2"}) {
    Config config = tiny_config(family, "fp32");
    config.batch.global_batch_size = 8;
    config = with_layout(config, {});
    const Outcome expected = train(config, {.until = 2});
    const Outcome first = train(config, {.until = 2, .device = kGuarded});
    const Outcome second = train(config, {.until = 2, .device = kGuarded});
    EXPECT_EQ(difference(first, second), "");
    ASSERT_EQ(first.losses.size(), 2U);
    EXPECT_NE(difference(expected, first), "") << "are these the CPU's kernels?";
    for (std::size_t i = 0; i < first.losses.size(); ++i) {
      EXPECT_NEAR(first.losses[i], expected.losses[i], 1e-5F * expected.losses[i]) << family;
      EXPECT_NEAR(first.norms[i], expected.norms[i], 1e-4F * expected.norms[i]) << family;
    }
  }
}

TEST_F(DeviceMemory, ProcessesNeedAGpuEachAndThreadsShareThem) {
  Config config;
  config.device = "cuda";
  EXPECT_EQ(rank_device(config, {.local_rank = 0, .local_size = 1}), kGuarded);
  EXPECT_EQ(rank_device(config, {.local_rank = 1, .local_size = 2, .process_ranks = 2}), kGuarded);
  try {
    rank_device(config, {.local_rank = 1, .local_size = 2});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kPreflight);
    EXPECT_NE(std::string(error.what()).find("this host has 1 GPU and 2 ranks"), std::string::npos)
        << error.what();
  }
}

// Ranks exchange host memory only: said before anything starts.
TEST_F(DeviceMemory, TrainsOnOneRankOnly) {
  Config config = tiny_config("llama", "fp32");
  config.device = "cuda";
  try {
    prepare_training(config, 2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kPreflight);
    EXPECT_NE(std::string(error.what()).find("one rank so far, not on 2"), std::string::npos)
        << error.what();
  }
}

// What a plan counts on the host is there for the device alone, and all that the model takes.
TEST_F(DeviceMemory, HasItsPlanOnTheHost) {
  const Config config = with_layout(tiny_config("llama", "bf16"), {});
  const MemoryPlan here = RankModel::plan(config, 0);
  const MemoryPlan there = RankModel::plan(config, 0, kGuarded);
  EXPECT_EQ(here.host, 0U);
  EXPECT_GT(there.host, 0U);
  EXPECT_EQ(there.weights, here.weights);
  EXPECT_EQ(there.activations, here.activations);
  EXPECT_EQ(there.workspace, here.workspace);
}

}  // namespace
}  // namespace frugal::test
