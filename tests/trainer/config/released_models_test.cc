// The config.json of released models, as published: each is adopted as it is.
#include "tests/trainer/config/config_text.h"

namespace frugal {
namespace {

struct Sizes {
  int layers, width, inner, heads, key_value_heads, vocabulary, positions;
};

struct Released {
  std::string name, json, model_type;
  Sizes sizes;
  double theta = 10000, eps = 1e-5;
  bool tied = false;
  double llama3_factor = 0;  // 0: positions are not scaled
};

constexpr const char* kLlama318B = R"({
  "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "bos_token_id": 128000, "eos_token_id": 128001, "hidden_act": "silu", "hidden_size": 4096,
  "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 131072,
  "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32,
  "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "transformers_version": "4.43.0.dev0", "use_cache": true, "vocab_size": 128256})";

constexpr const char* kLlama321B = R"({
  "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "bos_token_id": 128000, "eos_token_id": 128001, "head_dim": 64, "hidden_act": "silu",
  "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
  "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
  "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1,
  "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                   "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
  "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256})";

constexpr const char* kLlama32Converted = R"({
  "_attn_implementation_autoset": true, "_name_or_path": "x", "architectures": ["LlamaForCausalLM"],
  "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192,
  "max_position_embeddings": 131072, "model_type": "llama", "num_attention_heads": 32,
  "num_hidden_layers": 16, "num_key_value_heads": 8, "pad_token_id": 128004, "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                   "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "tie_word_embeddings": true, "unsloth_fixed": true,
  "unsloth_version": "2025.1", "temperature": 0.6, "top_p": 0.9, "vocab_size": 128256})";

constexpr const char* kSmollm2135M = R"({
  "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 576,
  "initializer_range": 0.041666666666666664, "intermediate_size": 1536, "is_llama_config": true,
  "max_position_embeddings": 8192, "mlp_bias": false, "model_type": "llama",
  "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1,
  "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
  "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.40.1",
  "use_cache": true, "vocab_size": 49152})";

constexpr const char* kQwen257B = R"({
  "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
  "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 3584, "initializer_range": 0.02,
  "intermediate_size": 18944, "max_position_embeddings": 131072, "max_window_layers": 28,
  "model_type": "qwen2", "num_attention_heads": 28, "num_hidden_layers": 28,
  "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
  "sliding_window": 131072, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "transformers_version": "4.40.1", "use_cache": true, "use_mrope": false,
  "use_sliding_window": false, "vocab_size": 152064})";

constexpr const char* kQwq32B = R"({
  "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
  "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 5120, "initializer_range": 0.02,
  "intermediate_size": 27648, "max_position_embeddings": 40960, "max_window_layers": 64,
  "model_type": "qwen2", "num_attention_heads": 40, "num_hidden_layers": 64,
  "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
  "sliding_window": 32768, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "transformers_version": "4.43.1", "use_cache": true, "use_sliding_window": false,
  "vocab_size": 152064})";

constexpr const char* kQwen306B = R"({
  "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
  "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
  "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
  "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
  "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
  "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.51.0",
  "use_cache": true, "use_sliding_window": false, "vocab_size": 151936})";

constexpr const char* kDeepseekR1DistillQwen7B = R"({
  "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
  "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 3584, "initializer_range": 0.02,
  "intermediate_size": 18944, "max_position_embeddings": 131072, "max_window_layers": 28,
  "model_type": "qwen2", "num_attention_heads": 28, "num_hidden_layers": 28,
  "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 10000, "sliding_window": 4096,
  "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.44.0",
  "use_cache": true, "use_mrope": false, "use_sliding_window": false, "vocab_size": 152064})";

constexpr const char* kGpt2 = R"({
  "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
  "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
  "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12,
  "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null,
  "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index",
  "summary_use_proj": true,
  "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}},
  "vocab_size": 50257})";

constexpr const char* kGpt2Xl = R"({
  "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
  "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
  "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 1600, "n_head": 25,
  "n_layer": 48, "n_positions": 1024, "output_past": true, "resid_pdrop": 0.1,
  "summary_activation": null, "summary_first_dropout": 0.1, "summary_proj_to_labels": true,
  "summary_type": "cls_index", "summary_use_proj": true,
  "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}},
  "vocab_size": 50257})";

constexpr const char* kDistilgpt2 = R"({
  "_num_labels": 1, "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
  "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256,
  "id2label": {"0": "LABEL_0"}, "initializer_range": 0.02, "label2id": {"LABEL_0": 0},
  "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12,
  "n_layer": 6, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null,
  "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index",
  "summary_use_proj": true,
  "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}},
  "vocab_size": 50257})";

constexpr const char* kGpt2Old = R"({
  "model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
  "n_special": 0, "predict_special_tokens": true, "vocab_size": 50257, "do_sample": false,
  "max_length": 20, "min_length": 0, "top_k": 50, "top_p": 1.0, "temperature": 1.0,
  "repetition_penalty": 1.0, "tokenizer_class": "GPT2Tokenizer", "_attn_implementation": "eager"})";

std::vector<Released> llamas() {
  return {
      {"Llama-3.1-8B",
       kLlama318B,
       "llama",
       {32, 4096, 14336, 32, 8, 128256, 131072},
       5e5,
       1e-5,
       false,
       8},
      {"Llama-3.2-1B",
       kLlama321B,
       "llama",
       {16, 2048, 8192, 32, 8, 128256, 131072},
       5e5,
       1e-5,
       true,
       32},
      {"Llama-3.2-1B, converted again by others",
       kLlama32Converted,
       "llama",
       {16, 2048, 8192, 32, 8, 128256, 131072},
       5e5,
       1e-5,
       true,
       32},
      {"SmolLM2-135M", kSmollm2135M, "llama", {30, 576, 1536, 9, 3, 49152, 8192}, 1e5, 1e-5, true},
  };
}

std::vector<Released> qwens() {
  return {
      {"Qwen2.5-7B",
       kQwen257B,
       "qwen2",
       {28, 3584, 18944, 28, 4, 152064, 131072},
       1e6,
       1e-6,
       false},
      {"QwQ-32B", kQwq32B, "qwen2", {64, 5120, 27648, 40, 8, 152064, 40960}, 1e6, 1e-5, false},
      {"Qwen3-0.6B", kQwen306B, "qwen3", {28, 1024, 3072, 16, 8, 151936, 40960}, 1e6, 1e-6, true},
      {"DeepSeek-R1-Distill-Qwen-7B",
       kDeepseekR1DistillQwen7B,
       "qwen2",
       {28, 3584, 18944, 28, 4, 152064, 131072},
       1e4,
       1e-6,
       false},
  };
}

std::vector<Released> gpt2s() {
  return {
      {"gpt2", kGpt2, "gpt2", {12, 768, 3072, 12, 12, 50257, 1024}, 1e4, 1e-5, true},
      {"gpt2-xl", kGpt2Xl, "gpt2", {48, 1600, 6400, 25, 25, 50257, 1024}, 1e4, 1e-5, true},
      {"distilgpt2", kDistilgpt2, "gpt2", {6, 768, 3072, 12, 12, 50257, 1024}, 1e4, 1e-5, true},
      {"openai's small one by an old program",
       kGpt2Old,
       "gpt2",
       {12, 768, 3072, 12, 12, 50257, 1024},
       1e4,
       1e-5,
       true},
  };
}

void expect_adopted(const Released& model) {
  SCOPED_TRACE(model.name);
  Config config = parse("model: {init_from: M}\ndata: {sequence_length: 8}");
  try {
    adopt_model(config, model.json, "M/config.json");
    resolve_config(config, 1);
  } catch (const ConfigError& error) {
    FAIL() << error.what();
  }
  const ModelConfig& m = config.model;
  const Sizes& sizes = model.sizes;
  const bool scaled = model.llama3_factor > 0;
  EXPECT_EQ(m.model_type, model.model_type);
  EXPECT_EQ(m.num_hidden_layers, sizes.layers);
  EXPECT_EQ(m.hidden_size, sizes.width);
  EXPECT_EQ(m.intermediate_size, sizes.inner);
  EXPECT_EQ(m.num_attention_heads, sizes.heads);
  EXPECT_EQ(m.num_key_value_heads, sizes.key_value_heads);
  EXPECT_EQ(m.head_dim, model.model_type == "qwen3" ? 128 : sizes.width / sizes.heads);
  EXPECT_EQ(m.vocab_size, sizes.vocabulary);
  EXPECT_EQ(m.max_position_embeddings, sizes.positions);
  EXPECT_EQ(m.rope_theta, model.theta);
  EXPECT_EQ(m.rope_type, scaled ? "llama3" : "default");
  EXPECT_EQ(m.rope_factor, scaled ? model.llama3_factor : 1.0);
  EXPECT_EQ(m.rms_norm_eps, model.eps);
  EXPECT_EQ(m.tie_word_embeddings, model.tied);
  EXPECT_EQ(m.attention_bias, model.model_type == "qwen2" || model.model_type == "gpt2");
  EXPECT_EQ(m.mlp_bias, model.model_type == "gpt2");
}

TEST(ReleasedModels, Llamas) {
  for (const Released& model : llamas()) expect_adopted(model);
}

TEST(ReleasedModels, Qwens) {
  for (const Released& model : qwens()) expect_adopted(model);
}

TEST(ReleasedModels, Gpt2s) {
  for (const Released& model : gpt2s()) expect_adopted(model);
}

}  // namespace
}  // namespace frugal
