// The verbs of all layers against central differences of the loss, one parameter at a time.
#include <gtest/gtest.h>

#include <cmath>

#include "comm/lone_world.h"
#include "kernels/core/threads.h"
#include "tests/equivalence/tiny_training.h"
#include "tests/support/tensors.h"
#include "trainer/engine/stage.h"
#include "trainer/model/attention_layer.h"
#include "trainer/model/model.h"

namespace frugal::test {
namespace {

constexpr std::int64_t kTokens = 16;

// The whole model as one stage, with one micro-batch.
class WholeModel {
 public:
  explicit WholeModel(const ModelDimensions& dims)
      : arena_({}, std::size_t{64} << 20),
        scratch_(arena_, std::size_t{16} << 20),
        params_(dims.dtype, dims.lora.rank > 0),
        stage_(dims,
               make_layers(dims, 0, layer_entries(dims),
                           make_rope_table(dims, arena_, arena_, *stream_)),
               params_),
        ids_(random_ids(kTokens, 0, static_cast<std::int32_t>(dims.vocab), 1)),
        targets_(random_ids(kTokens, -1, static_cast<std::int32_t>(dims.vocab), 2)),
        positions_({kTokens}, DType::kI32),
        documents_({kTokens}, DType::kI32),
        loss_({1}, DType::kF32) {
    params_.allocate(arena_, arena_);
    stage_.allocate(arena_, {1, 1, 1});
    params_.initialize(3, *stream_);
    for (ParamId id = 0; id < params_.size(); ++id) {  // 0 would hide the other factor's gradient
      if (!params_.entry(id).spec.name.ends_with("lora_B.weight")) continue;
      const Tensor b = params_.weight(id);
      const Owned values =
          random_tensor(b.shape, DType::kF32, 100 + static_cast<std::uint64_t>(id), 0.3F);
      std::copy_n(values.get().as<float>(), b.numel(), b.as<float>());
    }
    for (std::int64_t t = 0; t < kTokens; ++t) {
      const auto position = static_cast<std::int32_t>(t % dims.sequence_length);
      positions_.get().as<std::int32_t>()[t] = position;
      documents_.get().as<std::int32_t>()[t] = position < 3 ? 0 : 3;
    }
    microbatch_ = {.ids_T = ids_,
                   .targets_T = targets_,
                   .positions_T = positions_,
                   .document_start_T = documents_,
                   .loss_1 = loss_,
                   .loss_scale = 1.0F};
  }

  // The sum of the tokens' losses, by forward alone.
  double loss() {
    LayerContext ctx = context(false);
    loss_.set(0, 0.0F);
    stage_.begin_forward(0);
    stage_.forward(ctx, 0);
    stage_.end_forward(*stream_, 0);
    return static_cast<double>(loss_.at(0));
  }

  // The same by the three verbs, which leave the gradients in params().
  double loss_and_gradients() {
    LayerContext ctx = context(true);
    loss_.set(0, 0.0F);
    stage_.begin_forward(0);
    stage_.forward(ctx, 0);
    stage_.begin_backward(0);
    stage_.backward_input(ctx, 0);
    stage_.backward_weight(ctx, 0);
    stage_.end_backward(*stream_, 0);
    return static_cast<double>(loss_.at(0));
  }

  const ParamStore& params() const { return params_; }

 private:
  LayerContext context(bool training) {
    return {.compute = *stream_,
            .scratch = scratch_,
            .tensor_group = *group_,
            .params = params_,
            .microbatch = microbatch_,
            .training = training};
  }

  std::unique_ptr<Stream> stream_ = make_stream({}, "test");
  std::unique_ptr<ProcessGroup> group_ = make_lone_world()->group();
  Arena arena_;
  Workspace scratch_;
  ParamStore params_;
  Stage stage_;
  Owned ids_, targets_, positions_, documents_, loss_;
  Microbatch microbatch_;
};

// <gradient, u> over every use of the parameter; a tied one has two.
double along(const ParamStore& params, const std::string& name, const Owned& direction) {
  double sum = 0.0;
  for (ParamId id = 0; id < params.size(); ++id) {
    if (params.entry(id).spec.name != name) continue;
    const float* grad = params.grad(id).as<float>();
    for (std::int64_t i = 0; i < direction.get().numel(); ++i) {
      sum += static_cast<double>(grad[i]) * static_cast<double>(direction.at(i));
    }
  }
  return sum;
}

void check_every_parameter(const Config& config) {
  set_compute_threads(1);
  ModelDimensions dims = model_dimensions(config, 0);
  dims.chunk_logits = dims.vocab_rows() * 6;  // of 16 tokens: chunks of 6, 6 and 4
  WholeModel model(dims);
  EXPECT_FLOAT_EQ(static_cast<float>(model.loss_and_gradients()), static_cast<float>(model.loss()));
  const ParamStore& params = model.params();
  std::size_t checked = 0;
  for (ParamId id = 0; id < params.size(); ++id) {
    const ParamSpec& spec = params.entry(id).spec;
    if (spec.tie == ParamTie::kCopy || !params.trained(id)) continue;
    SCOPED_TRACE(spec.name);
    ++checked;
    const Tensor weight = params.weight(id).slice(0, spec.valid[0]);
    const Owned direction =
        random_tensor(weight.shape, DType::kF32, static_cast<std::uint64_t>(id));
    const double length = std::sqrt(static_cast<double>(weight.numel()));
    const auto shifted = [&](double step) {
      const std::vector<float> before(weight.as<float>(), weight.as<float>() + weight.numel());
      for (std::int64_t i = 0; i < weight.numel(); ++i) {
        weight.as<float>()[i] +=
            static_cast<float>(step * static_cast<double>(direction.at(i)) / length);
      }
      const double loss = model.loss();
      std::copy(before.begin(), before.end(), weight.as<float>());
      return loss;
    };
    constexpr double kStep = 1e-2;
    const double numeric = (shifted(kStep) - shifted(-kStep)) / (2.0 * kStep);
    const double analytic = along(params, spec.name, direction) / length;
    // A loss of about 70 in float32 is off by 1e-5 or so, over 2 * kStep; truncation is of order
    // kStep^2.
    EXPECT_NEAR(numeric, analytic, 2e-3 + 1e-2 * std::abs(analytic));
  }
  if (dims.lora.rank > 0) {
    EXPECT_EQ(checked, 2U * static_cast<std::size_t>(dims.layers) * dims.lora.targets.size());
  }
}

Config gradient_config(const std::string& family) {
  Config config = tiny_config(family, "fp32");
  config.model.num_hidden_layers = 2;
  config.model.initializer_range = 0.3;  // so that every part of the model matters
  config.batch = {.micro_batch_size = 2, .global_batch_size = 2};
  config.train.lanes = 1;
  return with_layout(config, {});
}

TEST(Gradients, Llama) {
  check_every_parameter(gradient_config("llama"));
}
TEST(Gradients, Gpt2WithTiedEmbeddings) {
  check_every_parameter(gradient_config("gpt2"));
}

TEST(Gradients, LlamaWithBiasesAndRecompute) {
  Config config = gradient_config("llama");
  config.model.attention_bias = config.model.mlp_bias = true;
  config.memory.recompute = "full";
  check_every_parameter(config);
}

Config lora_config(const std::string& family, std::vector<std::string> targets) {
  Config config = gradient_config(family);
  config.lora = {.rank = 3, .alpha = 1.5, .targets = std::move(targets), .init_from = {}};
  return config;
}

TEST(Gradients, LoraOnEveryMap) {
  check_every_parameter(lora_config(
      "llama", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}));
  check_every_parameter(
      lora_config("gpt2", {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"}));
}

// What a frozen map does not keep must not be missed: one map at a time.
TEST(Gradients, LoraOnOneMap) {
  for (const std::string family : {"llama", "gpt2", "qwen3"}) {
    for (const char* target :
         {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}) {
      if (family == "gpt2" && std::string(target) == "gate_proj") continue;
      SCOPED_TRACE(family + " " + target);
      Config config = lora_config(family, {target});
      check_every_parameter(config);
      config.memory.recompute = "full";
      check_every_parameter(config);
    }
  }
}

TEST(Gradients, Qwen2) {
  check_every_parameter(gradient_config("qwen2"));
}

TEST(Gradients, Qwen3WithScaledPositions) {
  Config config = gradient_config("qwen3");
  config.model.rope_type = "llama3";
  config.model.rope_factor = 4.0;
  config.model.rope_original_max_position_embeddings = 8;
  check_every_parameter(config);
}

}  // namespace
}  // namespace frugal::test
