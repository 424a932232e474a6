// Determinism D2 on thread ranks. For Llama and GPT-2 (tied embeddings), float32 and bfloat16, for
// Llama in float16 with updates that overflow, for state and weights that are rounded by chance,
// and for LoRA, 20 steps with document masks, ignored targets and an odd vocabulary:
//
//   SameBits    losses, gradient norms, weights and optimizer state on data 1, 2, 4, 8 x pipeline 1
//               to 4 x gpipe, 1f1b, interleaved_1f1b, zb_h1 x recompute x ZeRO, with stages by cost
//               and uneven ones given, against one rank. By default a table in which every pair of
//               values occurs (float16 and what is rounded by chance: every value); with
//               FRUGAL_TEST_FULL=1 in the environment the whole product.
//   Resume      the same across a checkpoint that one such layout saves at step 10 and another one
//               loads: from each of the table to the next one, in the full test to the next four;
//               tensors loaded on another tensor-parallel size are bit-equal.
//   Tensor      across tensor-parallel sizes: float32 losses within 1e-5 of one rank; within one
//               such size the same bits for any data and pipeline size.
//
// mpi_main.cc does the same between processes.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "kernels/core/threads.h"
#include "tests/equivalence/tiny_training.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/metrics/flops.h"
#include "trainer/model/model.h"

namespace frugal::test {
namespace {

bool full_test() {
  const char* full = std::getenv("FRUGAL_TEST_FULL");
  return full != nullptr && std::string(full) == "1";
}

struct Variant {
  std::string family, precision;
};

Config config_for(const Variant& variant, const Layout& layout) {
  Config config = tiny_config(variant.family, variant.precision);
  config.batch.global_batch_size = layout.microbatches();
  return with_layout(config, layout);
}

// One rank's outcome, as many micro-batches as the layout has. Kept: all tests of a variant ask.
const Outcome& reference(const Variant& variant, const Layout& layout) {
  static std::map<std::string, Outcome> outcomes;
  const int microbatches = layout.microbatches();
  const auto [found, added] =
      outcomes.try_emplace(concat(variant.family, variant.precision, microbatches));
  if (added) {
    Config config = tiny_config(variant.family, variant.precision);
    config.batch.global_batch_size = microbatches;
    found->second = train(with_layout(config, {}));
  }
  return found->second;
}

void expect_same(const Outcome& expected, const Outcome& actual) {
  EXPECT_EQ(difference(expected, actual), "");
  EXPECT_EQ(actual.tensors.size(), expected.tensors.size());
}

// A folder for checkpoints, removed at the end.
class CheckpointRoot {
 public:
  CheckpointRoot() : path_(concat(testing::TempDir(), "frugal_equivalence_", getpid())) {}
  ~CheckpointRoot() { std::filesystem::remove_all(path_); }
  CheckpointRoot(const CheckpointRoot&) = delete;
  CheckpointRoot& operator=(const CheckpointRoot&) = delete;
  // Trains half of the steps and saves.
  Outcome train_half(const Config& config) const {
    std::filesystem::remove_all(path_);
    return train(config, {.until = kSteps / 2, .save_under = path_});
  }
  std::string checkpoint() const { return list_checkpoints(path_).at(0); }

 private:
  std::string path_;
};

// The covering table; in float16 and by chance four of its rows, which have every value once.
std::vector<Layout> table_for(const Variant& variant) {
  std::vector<Layout> all = covering_layouts();
  const bool lora = variant.family.ends_with("_lora");
  const bool plain = variant.precision == "fp32" || variant.precision == "bf16";
  if ((plain && !lora) || full_test()) return all;
  return {all[0], all[6], all[11], all[13]};
}

class EveryVariant : public testing::TestWithParam<Variant> {};

TEST_P(EveryVariant, SameBits) {
  const Outcome& alone = reference(GetParam(), {});
  const auto finite = [](float norm) { return std::isfinite(norm); };
  const auto half = alone.norms.begin() + kSteps / 2;
  const bool overflows = GetParam().precision == "fp16";
  EXPECT_EQ(!std::all_of(alone.norms.begin(), half, finite), overflows);
  EXPECT_EQ(!std::all_of(half, alone.norms.end(), finite), overflows);
  EXPECT_NEAR(alone.losses.front(), std::log(static_cast<float>(kVocab)), 0.5F);
  // Beside a frozen head there is less to learn.
  const bool lora = GetParam().family.ends_with("_lora");
  EXPECT_LT(alone.losses.back(), alone.losses.front() - (lora ? 0.02F : 0.2F));
  for (const Layout& layout : full_test() ? all_layouts() : table_for(GetParam())) {
    SCOPED_TRACE(describe(layout));
    expect_same(reference(GetParam(), layout), train(config_for(GetParam(), layout)));
  }
}

// A layout of the table saves, another one of as many micro-batches (which a resume may not change)
// goes on.
TEST_P(EveryVariant, SameBitsAcrossResume) {
  const CheckpointRoot root;
  for (const int microbatches : {24, 32}) {
    std::vector<Layout> circle;
    for (const Layout& layout : table_for(GetParam())) {
      if (layout.microbatches() == microbatches) circle.push_back(layout);
    }
    const std::size_t farthest = full_test() ? std::min<std::size_t>(4, circle.size() - 1) : 1;
    for (std::size_t i = 0; i < circle.size(); ++i) {
      for (std::size_t distance = 1; distance <= farthest; ++distance) {
        const Layout &from = circle[i], &to = circle[(i + distance) % circle.size()];
        SCOPED_TRACE(describe(from) + " -> " + describe(to));
        root.train_half(config_for(GetParam(), from));
        expect_same(reference(GetParam(), to),
                    train(config_for(GetParam(), to), {.resume_from = root.checkpoint()}));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Equivalence, EveryVariant,
    testing::Values(Variant{"llama", "fp32"}, Variant{"llama", "bf16"}, Variant{"gpt2", "fp32"},
                    Variant{"gpt2", "bf16"}, Variant{"llama", "fp16"},
                    Variant{"gpt2", "bf16_state"}, Variant{"llama", "bf16_lean"},
                    Variant{"llama_lora", "bf16"}, Variant{"gpt2_lora", "fp32"}),
    [](const auto& info) { return info.param.family + "_" + info.param.precision; });

std::vector<Layout> tensor_layouts() {
  return {{.tensor = 2},
          {.data = 2, .pipeline = 2, .tensor = 2, .schedule = "zb_h1"},
          {.data = 2,
           .pipeline = 2,
           .tensor = 2,
           .schedule = "interleaved_1f1b",
           .zero_stage = 0,
           .recompute = true}};
}

void expect_near(const Outcome& expected, const Outcome& actual) {
  const auto skipped = static_cast<std::size_t>(actual.first_step - expected.first_step);
  ASSERT_EQ(actual.losses.size() + skipped, expected.losses.size());
  for (std::size_t i = 0; i < actual.losses.size(); ++i) {
    const float loss = expected.losses[i + skipped], norm = expected.norms[i + skipped];
    EXPECT_NEAR(actual.losses[i], loss, 1e-5F * loss) << "step " << i + skipped + 1;
    EXPECT_NEAR(actual.norms[i], norm, 1e-4F * norm) << "step " << i + skipped + 1;
  }
}

TEST(Tensor, WithinTolerance) {
  for (const std::string family : {"llama", "gpt2", "llama_lora", "gpt2_lora"}) {
    for (const Layout& layout : tensor_layouts()) {
      SCOPED_TRACE(family + " " + describe(layout));
      expect_near(reference({family, "fp32"}, layout), train(config_for({family, "fp32"}, layout)));
    }
  }
}

TEST(Tensor, SameBitsAtOneSize) {
  const Layout interleaved{.data = 2, .pipeline = 2, .tensor = 2, .schedule = "interleaved_1f1b"};
  const Layout zero_bubble{.data = 2,
                           .pipeline = 3,
                           .tensor = 2,
                           .schedule = "zb_h1",
                           .zero_stage = 0,
                           .recompute = true};
  for (const Variant& variant : {Variant{"llama", "bf16"}, Variant{"llama", "bf16_lean"},
                                 Variant{"gpt2", "fp32"}, Variant{"llama_lora", "bf16"}}) {
    for (const Layout& layout : {interleaved, zero_bubble}) {
      SCOPED_TRACE(variant.family + " " + describe(layout));
      Config alone = tiny_config(variant.family, variant.precision);
      alone.batch.global_batch_size = layout.microbatches();
      const Outcome expected = train(with_layout(alone, {.tensor = 2}));
      expect_same(expected, train(config_for(variant, layout)));
    }
  }
}

// Loading changes no bit, and what goes on is the same training.
TEST(Tensor, ResumesOnAnotherSize) {
  const CheckpointRoot root;
  const std::vector<std::pair<Layout, Layout>> moves{
      {{.data = 2, .pipeline = 2, .tensor = 2}, {.data = 4, .zero_stage = 0}},
      {{.pipeline = 3, .schedule = "zb_h1", .zero_stage = 0},
       {.data = 2, .tensor = 2, .recompute = true}}};
  for (const std::string family : {"llama", "gpt2", "llama_lora"}) {
    for (const auto& [from, to] : moves) {
      SCOPED_TRACE(family + " " + describe(from) + " -> " + describe(to));
      const Config config = config_for({family, "fp32"}, to);
      const Outcome saved = root.train_half(config_for({family, "fp32"}, from));
      expect_same(saved, train(config, {.resume_from = root.checkpoint(), .until = kSteps / 2}));
      expect_near(reference({family, "fp32"}, to),
                  train(config, {.resume_from = root.checkpoint()}));
    }
  }
}

// Ops on a thread of their own: the executor runs ahead of them, as with a GPU, and events alone
// keep the order. ThreadSanitizer sees what they miss.
TEST(Asynchronous, SameBits) {
  for (const Variant& variant : {Variant{"llama", "bf16"}, Variant{"gpt2", "fp32"}}) {
    for (const Layout& layout :
         {Layout{}, Layout{.data = 2, .pipeline = 2, .schedule = "zb_h1"},
          Layout{.data = 2, .pipeline = 2, .zero_stage = 0, .recompute = true},
          Layout{.pipeline = 2, .schedule = "interleaved_1f1b"},
          Layout{.data = 2, .pipeline = 2, .tensor = 2}}) {
      SCOPED_TRACE(describe(layout));
      const Config config = config_for(variant, layout);
      const Leg inline_ops{.until = 6}, threaded_ops{.until = 6, .compute = StreamMode::kThreaded};
      expect_same(train(config, inline_ops), train(config, threaded_ops));
    }
  }
}

TEST(Layouts, TheTableCoversEveryPair) {
  const std::vector<Layout> table = covering_layouts();
  EXPECT_EQ(table.size(), 16U);
  std::set<std::string> pairs;
  for (const Layout& l : table) {
    const std::vector<std::string> values{concat("data ", l.data), concat("pipeline ", l.pipeline),
                                          l.schedule, concat("memory ", l.zero_stage, l.recompute)};
    for (std::size_t a = 0; a < values.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) pairs.insert(values[a] + " with " + values[b]);
    }
  }
  EXPECT_EQ(pairs.size(), 6U * 16U);  // six pairs of factors of four values each
}

TEST(Plan, CountsWhatIsAllocated) {
  // The model is built inside exactly the planned bytes: one more allocation would throw. What a
  // plan must also do is shrink as it should.
  const Variant variant{"llama", "bf16"};
  const auto plan = [&](const Layout& layout) {
    return RankModel::plan(config_for(variant, layout), 0);
  };
  set_compute_threads(1);
  // Attention keeps five float32 copies of a head's sequence for each thread.
  const Config config = config_for(variant, {});
  EXPECT_EQ(plan({}).op_buffers, sizeof(float) * 5U *
                                     static_cast<unsigned>(config.data.sequence_length) *
                                     static_cast<unsigned>(config.model.head_dim));
  EXPECT_LT(plan({.data = 8}).optimizer, plan({}).optimizer / 2);
  const auto optimizer = [](const std::string& precision) {
    return RankModel::plan(config_for({"llama", precision}, {}), 0).optimizer;
  };
  // 12, 8 and 4 bytes a parameter, and what the gradient's norm takes.
  EXPECT_LT(optimizer("bf16_state"), optimizer("bf16") * 7 / 10);
  EXPECT_LT(optimizer("bf16_lean"), optimizer("bf16") * 4 / 10);
  EXPECT_LT(plan({.recompute = true}).activations, plan({}).activations);
  EXPECT_GT(plan({.schedule = "gpipe"}).activations, plan({}).activations);
}

TEST(Plan, OfLoraCountsAdaptersAlone) {
  set_compute_threads(1);
  const auto memory = [](const std::string& family, const Layout& layout) {
    return RankModel::plan(config_for({family, "bf16"}, layout), 0);
  };
  for (const std::string family : {"llama", "gpt2"}) {
    const MemoryPlan whole = memory(family, {}), lora = memory(family + "_lora", {});
    const Config config = config_for({family + "_lora", "bf16"}, {});
    std::int64_t elements = 0, blocks = 0, largest = 0, params = 0;
    for (const ParamSpec& spec : all_params(model_dimensions(config, 0))) {
      ++params;
      if (!spec.adapter) continue;
      elements += spec.global.numel();
      blocks += (spec.global.numel() + kParamBlock - 1) / kParamBlock;
      largest += static_cast<std::int64_t>(aligned(spec.global.numel() * 4)) * 3;
    }
    EXPECT_EQ(elements, trained_parameter_count(config.model, config.lora));
    // Whole blocks of float32 for each of eight lanes: the gradient, and three levels of sums.
    EXPECT_EQ(lora.gradients, static_cast<std::size_t>(blocks * kParamBlock * 4 * (1 + 3)));
    // Two moments and the master of each adapter; a sum for each block, and twice for each
    // parameter of the model.
    EXPECT_GE(lora.optimizer, static_cast<std::size_t>(elements * 12));
    EXPECT_LE(lora.optimizer,
              static_cast<std::size_t>(largest + blocks * 4 + 2 * params * 8 + 3 * 512));
    // The base once, in two bytes, and the adapters.
    EXPECT_EQ(lora.weights, whole.weights + static_cast<std::size_t>(blocks * kParamBlock * 2));
    EXPECT_LT(lora.activations, whole.activations);
  }
}

}  // namespace
}  // namespace frugal::test
