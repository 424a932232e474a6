#include "kernels/core/check.h"
#include "trainer/checkpoint/gguf_config.h"
#include "trainer/checkpoint/rope_scaling.h"

namespace frugal {
namespace {

// Keys behind the name of the family.
class FamilyKeys {
 public:
  explicit FamilyKeys(std::string family) : family_(std::move(family)) {}

  void size(std::string_view key, std::int64_t value) { add(key, GgufValue::u32(value)); }
  void number(std::string_view key, double value) { add(key, GgufValue::f32(value)); }
  void text(std::string_view key, std::string value) {
    add(key, GgufValue::text(std::move(value)));
  }

  GgufMetadata take() { return std::move(out_); }

 private:
  void add(std::string_view key, GgufValue value) {
    out_.emplace_back(concat(family_, ".", key), std::move(value));
  }

  const std::string family_;
  GgufMetadata out_;
};

}  // namespace

GgufMetadata gguf_metadata_of(const ModelConfig& model, std::int64_t vocab_size) {
  FamilyKeys keys(model.model_type);
  keys.size("block_count", model.num_hidden_layers);
  keys.size("context_length", model.max_position_embeddings);
  keys.size("embedding_length", model.hidden_size);
  keys.size("feed_forward_length", model.intermediate_size);
  keys.size("attention.head_count", model.num_attention_heads);
  keys.size("vocab_size", vocab_size);
  if (model.model_type == "gpt2") {
    keys.number("attention.layer_norm_epsilon", model.rms_norm_eps);
    return keys.take();
  }
  keys.size("attention.head_count_kv", model.num_key_value_heads);
  keys.size("attention.key_length", model.head_dim);
  keys.size("attention.value_length", model.head_dim);
  keys.number("attention.layer_norm_rms_epsilon", model.rms_norm_eps);
  keys.size("rope.dimension_count", model.head_dim);
  keys.number("rope.freq_base", model.rope_theta);
  if (model.rope_type == "linear") {
    keys.text("rope.scaling.type", "linear");
    keys.number("rope.scaling.factor", model.rope_factor);
  }
  return keys.take();
}

std::vector<float> rope_factors_of(const ModelConfig& model) {
  if (model.model_type == "gpt2" || model.rope_type != "llama3") return {};
  return llama3_factors(
      {.factor = model.rope_factor,
       .low_freq_factor = model.rope_low_freq_factor,
       .high_freq_factor = model.rope_high_freq_factor,
       .original_max_position_embeddings = model.rope_original_max_position_embeddings},
      model.rope_theta, model.head_dim);
}

}  // namespace frugal
