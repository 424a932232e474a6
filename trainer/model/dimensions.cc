#include "trainer/model/dimensions.h"

#include <algorithm>

namespace frugal {

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

ModelDimensions model_dimensions(const Config& config, int tensor_rank) {
  const ModelConfig& model = config.model;
  FRUGAL_CHECK(model.vocab_size.has_value(), "model.vocab_size is not resolved");
  ModelDimensions out;
  out.family = model.model_type == "gpt2" ? Family::kGpt2 : Family::kLlama;
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
  out.norm_eps = static_cast<float>(model.rms_norm_eps);
  out.initializer_range = static_cast<float>(model.initializer_range);
  out.tied = model.tie_word_embeddings;
  out.attention_bias = out.family == Family::kGpt2 || model.attention_bias;
  out.mlp_bias = out.family == Family::kGpt2 || model.mlp_bias;
  out.recompute = config.memory.recompute == "full";
  out.tensor_size = config.parallelism.tensor;
  out.tensor_rank = tensor_rank;
  return out;
}

}  // namespace frugal
