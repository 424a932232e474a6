#include "trainer/model/dimensions.h"

#include <algorithm>

namespace frugal {

bool LoraDimensions::adapts(std::string_view module) const {
  const std::string_view last = module.substr(module.rfind('.') + 1);
  return rank > 0 && std::ranges::find(targets, last) != targets.end();
}

std::int64_t ModelDimensions::vocab_rows() const {
  const std::int64_t multiple = std::int64_t{64} * tensor_size;
  return (vocab + multiple - 1) / multiple * 64;
}

std::int64_t ModelDimensions::vocab_valid_rows() const {
  return std::clamp<std::int64_t>(vocab - vocab_begin(), 0, vocab_rows());
}

DType compute_dtype(const PrecisionConfig& precision) {
  if (precision.compute == "bf16") return DType::kBF16;
  return precision.compute == "fp16" ? DType::kF16 : DType::kF32;
}

namespace {

RopeScaling rope_scaling(const ModelConfig& model) {
  using Kind = RopeScaling::Kind;
  return {.kind = model.rope_type == "llama3"   ? Kind::kLlama3
                  : model.rope_type == "linear" ? Kind::kLinear
                                                : Kind::kNone,
          .factor = model.rope_factor,
          .low_freq_factor = model.rope_low_freq_factor,
          .high_freq_factor = model.rope_high_freq_factor,
          .original_length = static_cast<double>(model.rope_original_max_position_embeddings)};
}

}  // namespace

ModelDimensions model_dimensions(const Config& config, int tensor_rank) {
  const ModelConfig& model = config.model;
  FRUGAL_CHECK(model.vocab_size.has_value(), "model.vocab_size is not resolved");
  ModelDimensions out;
  const bool gpt2 = model.model_type == "gpt2";
  out.layer_norm = gpt2;
  out.learned_positions = gpt2;
  out.gated_mlp = !gpt2;
  out.qk_norm = model.model_type == "qwen3";
  const bool qwen2 = model.model_type == "qwen2";
  out.qkv_bias = gpt2 || qwen2 || model.attention_bias;
  out.output_bias = gpt2 || (model.attention_bias && !qwen2);
  out.mlp_bias = gpt2 || model.mlp_bias;
  out.dtype = compute_dtype(config.precision);
  out.tokens = std::int64_t{config.batch.micro_batch_size} * config.data.sequence_length;
  out.sequence_length = config.data.sequence_length;
  out.hidden = model.hidden_size;
  out.intermediate = model.intermediate_size;
  out.heads = model.num_attention_heads;
  out.kv_heads = model.num_key_value_heads;
  out.head_dim = model.head_dim;
  out.vocab = *model.vocab_size;
  out.max_positions = model.max_position_embeddings;
  out.layers = model.num_hidden_layers;
  out.rope_theta = model.rope_theta;
  out.rope_scaling = rope_scaling(model);
  out.norm_eps = static_cast<float>(model.rms_norm_eps);
  out.initializer_range = static_cast<float>(model.initializer_range);
  out.tied = model.tie_word_embeddings;
  out.recompute = config.memory.recompute == "full";
  if (config.lora.rank > 0) {
    out.lora = {.rank = config.lora.rank,
                .scale = static_cast<float>(config.lora.alpha / config.lora.rank),
                .targets = config.lora.targets};
  }
  out.tensor_size = config.parallelism.tensor;
  out.tensor_rank = tensor_rank;
  return out;
}

}  // namespace frugal
