// The host touches no device memory: a training on a device that would not survive it, against the
// CPU.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "comm/lone_world.h"
#include "comm/world.h"
#include "kernels/core/arena.h"
#include "kernels/ops/elementwise.h"
#include "tests/equivalence/tiny_training.h"
#include "tests/support/emulated_cuda.h"
#include "tests/support/guarded_device.h"
#include "tests/support/tolerance.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/engine/algorithm_choices.h"
#include "trainer/engine/host.h"
#include "trainer/engine/memory_check.h"
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
  check_training("llama", "fp16");
}

// Every step but the first of a start is a replay, and has the bits of the plain path, also with
// evaluations in between.
TEST_F(DeviceMemory, ReplaysStepsAsGraphs) {
  for (const std::string family : {"llama", "gpt2"}) {
    install_guarded_device(cpu::table);
    Config config = tiny_config(family, "bf16");
    config.batch.global_batch_size = 8;
    config.train.lanes = 4;
    config = with_layout(config, {});
    const Outcome replayed = train(config, {.until = 5, .device = kGuarded});
    EXPECT_EQ(guarded_device_graphs().captured, 1);
    EXPECT_EQ(guarded_device_graphs().replayed, 4);
    config.train.cuda_graph = false;
    const Outcome plain = train(config, {.until = 5, .device = kGuarded});
    EXPECT_EQ(guarded_device_graphs().captured, 1);
    EXPECT_EQ(difference(plain, replayed), "");
    EXPECT_EQ(difference(train(config, {.until = 5}), replayed), "");
  }
}

// Captured anew whenever the loss scale has moved, which a graph holds as it was.
TEST_F(DeviceMemory, ReplaysTheLossScaleOfTheStep) {
  Config config = tiny_config("llama", "fp16");
  config.batch.global_batch_size = 8;
  config = with_layout(config, {});
  const Outcome expected = train(config), replayed = train(config, {.device = kGuarded});
  EXPECT_EQ(difference(expected, replayed), "");
  int scales = 1;  // of the steps but the first, which is plain
  for (std::size_t i = 2; i < expected.scales.size(); ++i) {
    scales += expected.scales[i] != expected.scales[i - 1] ? 1 : 0;
  }
  EXPECT_GT(scales, 4);
  EXPECT_EQ(guarded_device_graphs().captured, scales);
  EXPECT_EQ(guarded_device_graphs().replayed, kSteps - 1);
}

// The CUDA backend's kernels, emulated, in a whole training: near the CPU's numbers, and the same
// bits again.
TEST_F(DeviceMemory, TrainsWithCudaKernels) {
  install_guarded_device(emulated_cuda_table());
  struct Row {
    std::string family, precision;
    double tolerance;  // of losses; ten times that of norms
  };
  for (const auto& [family, precision, tolerance] :
       {Row{"llama", "fp32", 1e-5}, Row{"gpt2", "fp32", 1e-5},
        Row{"llama", "fp16", epsilon_of(DType::kF16)}}) {
    SCOPED_TRACE(family + " " + precision);
    Config config = tiny_config(family, precision);
    config.precision.initial_loss_scale = 1024;
    config.batch.global_batch_size = 8;
    config = with_layout(config, {});
    const Outcome expected = train(config, {.until = 2});
    const Outcome first = train(config, {.until = 2, .device = kGuarded});
    const Outcome second = train(config, {.until = 2, .device = kGuarded});
    EXPECT_EQ(difference(first, second), "");
    ASSERT_EQ(first.losses.size(), 2U);
    EXPECT_NE(difference(expected, first), "") << "are these the CPU's kernels?";
    for (std::size_t i = 0; i < first.losses.size(); ++i) {
      EXPECT_NEAR(first.losses[i], expected.losses[i], tolerance * expected.losses[i]);
      EXPECT_NEAR(first.norms[i], expected.norms[i], 10 * tolerance * expected.norms[i]);
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

// As a launcher may show GPUs to the processes of a host: which of them, to each.
void expect_gpus(const std::vector<std::vector<std::string>>& shown,
                 const std::vector<int>& expected, const std::string& map) {
  const auto ranks = static_cast<int>(shown.size());
  Config config;
  config.device = "cuda";
  run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
    const auto rank = static_cast<std::size_t>(world->rank());
    set_guarded_gpus(shown[rank]);
    RankPlace place{.local_rank = world->rank(), .local_size = ranks};
    place.own_gpus = sees_own_gpus(*world, config, place);
    int index = -1;  // refused
    try {
      index = static_cast<std::uint8_t>(rank_device(config, place).index);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kPreflight);
    }
    EXPECT_EQ(index, expected[rank]) << "rank " << rank;
    const Device device{index < 0 ? DeviceType::kCpu : DeviceType::kCuda,
                        static_cast<std::int8_t>(std::max(index, 0))};
    const std::string text = gpu_map(*world, device);
    if (rank == 0) {
      EXPECT_EQ(text, map.empty() ? "" : host_name() + ": " + map);
    }
  });
}

TEST_F(DeviceMemory, ProcessesMaySeeAGpuEach) {
  set_guarded_device_info({.name = "Card", .memory_bytes = std::size_t{24} << 30});
  expect_gpus({{"A"}, {"B"}, {"C"}}, {0, 0, 0},
              "GPU 0 (Card 24.0 GiB, A): rank 0; GPU 0 (Card 24.0 GiB, B): rank 1; "
              "GPU 0 (Card 24.0 GiB, C): rank 2");
  expect_gpus({{"A", "B"}, {"C", "D"}}, {0, 0},
              "GPU 0 (Card 24.0 GiB, A): rank 0; GPU 0 (Card 24.0 GiB, C): rank 1");
  expect_gpus({{"A", "B"}, {"A", "B"}}, {0, 1},
              "GPU 0 (Card 24.0 GiB): rank 0; GPU 1 (Card 24.0 GiB): rank 1");
  // Two of the same, which no more than one process may use.
  expect_gpus({{"A"}, {"A"}}, {-1, -1}, "");
  expect_gpus({{"A"}, {"B"}, {"B"}}, {0, -1, -1}, "GPU 0 (Card 24.0 GiB): rank 0");
}

std::string why_unable(const std::string& precision, int capability) {
  set_guarded_device_info({.name = "Card", .capability = capability});
  Config config;
  config.precision.compute = precision;
  EXPECT_EQ(unable(config, {}), "");
  return unable(config, kGuarded);
}

TEST_F(DeviceMemory, RefusesCardsThatAreTooOld) {
  EXPECT_EQ(why_unable("fp32", 61),
            "GPU 0 (Card, compute capability 6.1) is too old: the kernels need 7.5, as a T4 has, "
            "or newer; set device: cpu, or CUDA_VISIBLE_DEVICES to newer GPUs");
  EXPECT_EQ(why_unable("fp32", 75), "");
  EXPECT_EQ(why_unable("bf16", 75),
            "GPU 0 (Card, compute capability 7.5) has no bfloat16; set precision.compute: fp16");
  EXPECT_EQ(why_unable("bf16", 80), "");
  EXPECT_EQ(why_unable("bf16", 120), "");
}

TEST_F(DeviceMemory, SaysWhichRanksHaveWhichGpu) {
  set_guarded_device_info(
      {.name = "Card", .capability = 86, .memory_bytes = std::size_t{24} << 30});
  run_ranks_as_threads(3, [](std::unique_ptr<ProcessGroup> world) {
    const std::string map = gpu_map(*world, world->rank() == 1 ? Device{} : kGuarded);
    const bool first = world->rank() == 0;
    EXPECT_EQ(map, first ? host_name() + ": GPU 0 (Card 24.0 GiB): ranks 0, 2" : "");
    EXPECT_EQ(gpu_map(*world, {}), "");
  });
}

// Before anything is allocated: what is short, what takes it, and settings that are enough.
TEST_F(DeviceMemory, SaysWhatWouldFitIntoTheGpu) {
  Config config = tiny_config("llama", "bf16");
  config.model.vocab_size = 33001;
  config.batch.global_batch_size = 64;
  config.batch.micro_batch_size = 32;
  config.train.lanes = 1;
  config = with_layout(config, {});
  const std::size_t needed = RankModel::plan(config, 0, kGuarded).total();
  const std::size_t driver = std::size_t{256} << 20;
  const auto refusal = [&](std::size_t free) -> std::string {
    set_guarded_device_info({.name = "Card", .capability = 86, .free_bytes = free});
    try {
      check_memory(config, 0, {}, kGuarded);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kPreflight);
      return error.what();
    }
  };
  EXPECT_EQ(refusal(needed + driver), "");
  const std::string text = refusal(needed + driver - 1);
  for (const std::string part :
       {"on GPU 0 (Card) (1 rank), where ", "the largest part of a rank is ",
        "what fits: batch.micro_batch_size=16 (", ", or memory.recompute=full ("}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  }
  EXPECT_NE(refusal(driver).find("no smaller micro-batch fits"), std::string::npos);
  // What it names does fit.
  config.memory.recompute = "full";
  EXPECT_EQ(refusal(needed + driver - 1), "");
  config.memory.recompute = "none";
  config.batch.micro_batch_size = 16;
  EXPECT_EQ(refusal(needed + driver - 1), "");
}

// What two ranks choose, with what the file says then and what is said.
struct Choice {
  std::vector<std::string> lines;
  std::string said;
};
Choice choose(const std::string& path) {
  const Config config = with_layout(tiny_config("llama", "bf16"), {.pipeline = 2});
  Choice out;
  run_ranks_as_threads(2, [&](std::unique_ptr<ProcessGroup> world) {
    const std::string text = choose_algorithms_once(config, *world, kGuarded, path);
    if (world->rank() == 0) {
      out.said = text;
    } else {
      EXPECT_EQ(text, "");
    }
  });
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) out.lines.push_back(line);
  return out;
}

// Chosen once, alike on all ranks, and again after a restart.
TEST_F(DeviceMemory, KeepsTheAlgorithmsOfProducts) {
  const std::string path =
      testing::TempDir() + "frugal_algorithms_" + std::to_string(getpid()) + ".txt";
  const Choice first = choose(path);
  ASSERT_GT(first.lines.size(), 8U);
  EXPECT_EQ(first.said, "");
  std::size_t backwards = 0;
  for (const std::string& line : first.lines) {
    const bool attention = line.rfind("guarded; attention; bf16, ", 0) == 0;
    backwards += line.find(", backward\t") != std::string::npos ? 1 : 0;
    EXPECT_EQ(line.ends_with("\tlibrary 1"), attention) << line;
    EXPECT_TRUE(attention || line.rfind("guarded; library 1; bf16 -> ", 0) == 0) << line;
  }
  EXPECT_EQ(backwards, 1U);
  EXPECT_EQ(choose(path).lines, first.lines);
  // What is written holds, and what is missing is chosen anew.
  std::string edited = first.lines.back();
  edited = edited.substr(0, edited.find('\t')) + "\tby hand";
  // A line that is none of these is passed over.
  std::ofstream(path) << "damaged\tline\n; \tx\n" << edited << "\n";
  const Choice again = choose(path);
  EXPECT_EQ(again.lines.back(), edited);
  EXPECT_EQ(again.lines.size(), first.lines.size());
  std::filesystem::remove(path);
  choose_algorithms_once({}, *make_lone_world()->group(), {}, path);
  EXPECT_FALSE(std::filesystem::exists(path));
}

// Once, when a run goes on with others than it began with.
TEST_F(DeviceMemory, SaysWhichLibrariesTookTheirPlace) {
  const std::string path =
      testing::TempDir() + "frugal_libraries_" + std::to_string(getpid()) + ".txt";
  EXPECT_EQ(choose(path).said, "");
  EXPECT_EQ(choose(path).said, "");
  set_guarded_libraries(2);
  EXPECT_EQ(choose(path).said,
            "attention by library 2 instead of library 1, products by library 2 instead of library "
            "1: from here on the bits are others than this run began with");
  EXPECT_EQ(choose(path).said, "");
  std::filesystem::remove(path);
}

// precision.tf32 reaches every product of a float32 run, and no other.
TEST_F(DeviceMemory, PlansItsProducts) {
  for (const std::string precision : {"fp32", "bf16"}) {
    for (const bool tf32 : {false, true}) {
      Config config = tiny_config("llama", precision);
      config.precision.tf32 = tf32;
      const auto products = RankModel::plan(with_layout(config, {}), 0, kGuarded).products;
      EXPECT_GT(products.size(), 8U);
      for (const Product& p : products) {
        EXPECT_EQ(p.tf32, tf32 && precision == "fp32") << text_of(p);
        EXPECT_EQ(p.in, precision == "fp32" ? DType::kF32 : DType::kBF16) << text_of(p);
      }
    }
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
  EXPECT_EQ(there.rings, 0U);
  const Config pair = with_layout(tiny_config("llama", "bf16"), {.data = 2, .tensor = 2});
  EXPECT_GT(RankModel::plan(pair, 0, kGuarded).rings, 0U);
  EXPECT_EQ(RankModel::plan(pair, 0).rings, 0U);
}

}  // namespace
}  // namespace frugal::test
