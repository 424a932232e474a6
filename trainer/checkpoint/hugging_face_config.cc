#include "trainer/checkpoint/hugging_face_config.h"

#include <cmath>

#include "kernels/core/check.h"

namespace frugal {
namespace {

using json = nlohmann::ordered_json;

void add_common(json& out, const ModelConfig& model, const ExportFacts& facts) {
  out["vocab_size"] = facts.vocab_size;
  out["initializer_range"] = model.initializer_range;
  out["tie_word_embeddings"] = model.tie_word_embeddings;
  out["use_cache"] = true;
  out["bos_token_id"] = facts.bos;
  out["eos_token_id"] = facts.eos;
  out["torch_dtype"] = facts.torch_dtype;
  out["dtype"] = facts.torch_dtype;
}

json gpt2(const ModelConfig& model) {
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"n_embd", model.hidden_size},
          {"n_inner", model.intermediate_size},
          {"n_layer", model.num_hidden_layers},
          {"n_head", model.num_attention_heads},
          {"n_positions", model.max_position_embeddings},
          {"n_ctx", model.max_position_embeddings},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", model.rms_norm_eps},
          {"attn_pdrop", 0.0},
          {"embd_pdrop", 0.0},
          {"resid_pdrop", 0.0},
          {"scale_attn_weights", true}};
}

// Without theta: null where frequencies are not scaled.
json rope_scaling(const ModelConfig& model) {
  if (model.rope_type == "default") return nullptr;
  json scaling{{"rope_type", model.rope_type}, {"factor", model.rope_factor}};
  if (model.rope_type == "llama3") {
    scaling["low_freq_factor"] = model.rope_low_freq_factor;
    scaling["high_freq_factor"] = model.rope_high_freq_factor;
    scaling["original_max_position_embeddings"] = model.rope_original_max_position_embeddings;
  }
  return scaling;
}

json llama(const ModelConfig& model, std::string_view architecture) {
  const json scaling = rope_scaling(model);
  json parameters = scaling.is_null() ? json{{"rope_type", "default"}} : scaling;
  parameters["rope_theta"] = model.rope_theta;
  return {{"architectures", {architecture}},
          {"model_type", model.model_type},
          {"hidden_size", model.hidden_size},
          {"intermediate_size", model.intermediate_size},
          {"num_hidden_layers", model.num_hidden_layers},
          {"num_attention_heads", model.num_attention_heads},
          {"num_key_value_heads", model.num_key_value_heads},
          {"head_dim", model.head_dim},
          {"max_position_embeddings", model.max_position_embeddings},
          {"rms_norm_eps", model.rms_norm_eps},
          {"hidden_act", "silu"},
          {"attention_dropout", 0.0},
          {"rope_theta", model.rope_theta},
          {"rope_scaling", scaling},
          {"rope_parameters", parameters}};
}

json of_family(const ModelConfig& model) {
  if (model.model_type == "gpt2") return gpt2(model);
  if (model.model_type == "llama") {
    json out = llama(model, "LlamaForCausalLM");
    out["attention_bias"] = model.attention_bias;
    out["mlp_bias"] = model.mlp_bias;
    out["pretraining_tp"] = 1;
    return out;
  }
  if (model.model_type == "qwen2" || model.model_type == "qwen3") {
    const bool third = model.model_type == "qwen3";
    json out = llama(model, third ? "Qwen3ForCausalLM" : "Qwen2ForCausalLM");
    if (third) out["attention_bias"] = model.attention_bias;
    out["use_sliding_window"] = false;
    out["sliding_window"] = nullptr;
    out["max_window_layers"] = model.num_hidden_layers;
    return out;
  }
  FRUGAL_CHECK(false, model.model_type);
}

}  // namespace

std::string hugging_face_config(const ModelConfig& model, const ExportFacts& facts) {
  json out = of_family(model);
  add_common(out, model, facts);
  return out.dump(2) + "\n";
}

std::string adapter_config(const Config& config) {
  const double alpha = config.lora.alpha;
  const json out{{"peft_type", "LORA"},
                 {"task_type", "CAUSAL_LM"},
                 {"base_model_name_or_path", config.model.init_from},
                 {"r", config.lora.rank},
                 // Older versions want a whole number.
                 {"lora_alpha", alpha == std::floor(alpha) ? json(static_cast<std::int64_t>(alpha))
                                                           : json(alpha)},
                 {"target_modules", config.lora.targets},
                 {"lora_dropout", 0.0},
                 {"bias", "none"},
                 {"fan_in_fan_out", false},
                 {"inference_mode", true},
                 {"init_lora_weights", true},
                 {"modules_to_save", nullptr},
                 {"use_dora", false},
                 {"use_rslora", false}};
  return out.dump(2) + "\n";
}

std::string generation_config(const ExportFacts& facts) {
  json out{{"_from_model_config", true}};
  if (!facts.bos.is_null()) out["bos_token_id"] = facts.bos;
  if (!facts.eos.is_null()) out["eos_token_id"] = facts.eos;
  return out.dump(2) + "\n";
}

}  // namespace frugal
