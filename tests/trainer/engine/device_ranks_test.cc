// Ranks whose tensors lie on a device that the host cannot touch, against the CPU.
#include <gtest/gtest.h>

#include "tests/equivalence/tiny_training.h"
#include "tests/support/guarded_device.h"

namespace frugal::test {
namespace {

// Ranks as threads that share the device, with every axis, schedule and way to shard, against one
// rank on the CPU; across the tensor axis against the CPU with the same one.
TEST(DeviceRanks, TrainToTheBitsOfTheCpu) {
  install_guarded_device(cpu::table);
  const std::vector<Layout> layouts{
      {.data = 2},
      {.data = 4, .zero_stage = 0},
      {.pipeline = 2, .schedule = "gpipe"},
      {.pipeline = 2, .schedule = "1f1b"},
      {.pipeline = 4, .schedule = "zb_h1", .recompute = true},
      {.pipeline = 2, .schedule = "interleaved_1f1b"},
      {.tensor = 2},
      {.data = 2, .pipeline = 2, .tensor = 2, .schedule = "zb_h1"},
  };
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    const Layout& layout = layouts[i];
    const std::string family = i % 3 == 0 ? "llama" : i % 3 == 1 ? "gpt2" : "llama_lora";
    SCOPED_TRACE(concat(family, ", ", describe(layout)));
    Config config = tiny_config(family, layout.tensor > 1 ? "fp32" : "bf16");
    config.batch.global_batch_size = layout.microbatches();
    const Outcome expected = train(with_layout(config, {.tensor = layout.tensor}), {.until = 7});
    const Outcome actual = train(with_layout(config, layout), {.until = 7, .device = kGuarded});
    EXPECT_EQ(difference(expected, actual), "");
    EXPECT_EQ(actual.tensors.size(), expected.tensors.size());
  }
}

}  // namespace
}  // namespace frugal::test
