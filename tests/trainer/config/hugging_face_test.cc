#include "tests/trainer/config/config_text.h"

namespace frugal {
namespace {

// As published for small Llamas.
constexpr const char* kLlama = R"(model:
  {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": false,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "hidden_act": "silu",
    "head_dim": null,
    "hidden_size": 576,
    "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536,
    "is_camelid": true,
    "max_position_embeddings": 2048,
    "mlp_bias": false,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pad_token_id": null,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": null,
    "rope_theta": 10000.0,
    "tie_word_embeddings": true,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1",
    "use_cache": true,
    "vocab_size": 49152
  }
)";

constexpr const char* kGpt2 = R"(model: {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_inner": null,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "summary_activation": null,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": true,
    "summary_type": "cls_index",
    "summary_use_proj": true,
    "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}},
    "vocab_size": 50257
  }
)";

TEST(HuggingFace, APastedLlama) {
  // The one field nobody knows is an error; all others are read or passed over.
  const std::string message = problems_of(kLlama);
  EXPECT_TRUE(says(message, "there is no key 'is_camelid' in 'model'"));
  EXPECT_EQ(message.find("\na.yaml"), std::string::npos) << message;
  std::string known = kLlama;
  constexpr std::string_view kUnknown = "\"is_camelid\": true,";
  Config c = parse(known.replace(known.find(kUnknown), kUnknown.size(), ""));
  EXPECT_EQ(c.model.hidden_size, 576);
  EXPECT_EQ(c.model.num_hidden_layers, 30);
  EXPECT_EQ(c.model.num_key_value_heads, 3);
  EXPECT_EQ(c.model.initializer_range, 0.041666666666666664);
  EXPECT_EQ(c.model.vocab_size, 49152);
  EXPECT_TRUE(c.model.tie_word_embeddings);
  resolve_config(c, 1);
  EXPECT_EQ(c.model.head_dim, 64);
}

TEST(HuggingFace, APastedGpt2) {
  Config c = parse(kGpt2);
  EXPECT_EQ(c.model.hidden_size, 768);
  EXPECT_EQ(c.model.num_hidden_layers, 12);
  EXPECT_EQ(c.model.num_attention_heads, 12);
  EXPECT_EQ(c.model.max_position_embeddings, 1024);
  EXPECT_EQ(c.model.rms_norm_eps, 1e-5);
  EXPECT_TRUE(c.model.tie_word_embeddings);
  EXPECT_TRUE(c.model.attention_bias && c.model.mlp_bias);
  resolve_config(c, 1);
  EXPECT_EQ(c.model.intermediate_size, 3072);
}

TEST(HuggingFace, NewerRopeParameters) {
  EXPECT_EQ(
      parse("model: {rope_parameters: {rope_type: default, rope_theta: 5e5}, dtype: bfloat16}")
          .model.rope_theta,
      5e5);
  EXPECT_EQ(problems_of("model: {layer_types: [full_attention, full_attention]}"), "");
  // The same number, however it is written; null is what is not there.
  EXPECT_EQ(parse("model: {rope_theta: 10000, rope_parameters: {rope_theta: 1.0e4, rope_type: "
                  "default, attention_factor: null, factor: null}}")
                .model.rope_theta,
            10000);
  EXPECT_EQ(parse("model: {rope_theta: 5e5, rope_parameters: {rope_theta: null}}").model.rope_theta,
            5e5);
}

TEST(HuggingFace, RopeScalingInBothSpellings) {
  const Config old = parse(
      "model: {rope_theta: 5e5, rope_scaling: {rope_type: llama3, factor: 8.0, low_freq_factor: "
      "1.0, high_freq_factor: 4.0, original_max_position_embeddings: 4096}}");
  EXPECT_EQ(old.model.rope_type, "llama3");
  EXPECT_EQ(old.model.rope_factor, 8.0);
  EXPECT_EQ(old.model.rope_original_max_position_embeddings, 4096);
  const Config both =
      parse("model: {rope_scaling: {type: linear, rope_type: linear, factor: 2.0}}");
  EXPECT_EQ(both.model.rope_type, "linear");
  EXPECT_EQ(parse(dump_config(old)).model.rope_factor, 8.0);
}

TEST(HuggingFace, WhatAFamilyAlwaysHas) {
  EXPECT_TRUE(parse("model: {model_type: qwen2}").model.attention_bias);
  EXPECT_FALSE(parse("model: {model_type: qwen3}").model.attention_bias);
  EXPECT_TRUE(says(problems_of("model: {model_type: qwen2, attention_bias: false}"),
                   "qwen2 always has biases on queries, keys and values"));
  EXPECT_TRUE(says(problems_of("model: {model_type: qwen3, mlp_bias: true}"), "have no biases"));
  EXPECT_EQ(problems_of("model: {model_type: qwen2, use_sliding_window: false, sliding_window: 8}"),
            "");
  Config qwen3 = parse("model: {model_type: qwen3, intermediate_size: 64}");
  qwen3.model.vocab_size = 10;
  resolve_config(qwen3, 1);
  EXPECT_EQ(qwen3.model.head_dim, 128);
}

TEST(HuggingFace, WhatWouldChangeTheMathematicsIsRefused) {
  for (const auto& [fields, part] : std::vector<std::pair<std::string, std::string>>{
           {"rope_interleaved: true", "model.rope_interleaved: 'true' is not supported"},
           {"use_mrope: true", "positions here have one dimension; only false or null is accepted"},
           {"hidden_act: gelu", "'gelu' is not supported: the MLP of llama uses SiLU"},
           {"model_type: gpt2, activation_function: relu", "tanh approximation of GELU"},
           {"model_type: gpt2, hidden_act: silu", "tanh approximation of GELU"},
           {"rope_scaling: {rope_type: yarn, factor: 32.0}",
            "model.rope_scaling.rope_type: 'yarn' is not supported"},
           {"rope_scaling: {rope_type: llama3, beta_fast: 32.0}",
            "model.rope_scaling.beta_fast: is not supported"},
           {"rope_scaling: {rope_type: llama3, factor: 8.0, high_freq_factor: 4.0, "
            "original_max_position_embeddings: 8192}",
            "model.rope_scaling: llama3 needs low_freq_factor, which is not said there"},
           {"rope_parameters: {rope_type: llama3, rope_theta: 5e5, factor: null}",
            "model.rope_parameters: llama3 needs factor, which is not said there"},
           {"rope_scaling: {rope_type: llama3, factor: 8.0, low_freq_factor: 1.0}",
            "llama3 needs high_freq_factor"},
           {"rope_scaling: {rope_type: llama3}", "llama3 needs original_max_position_embeddings"},
           {"rope_scaling: {type: linear}", "model.rope_scaling: linear needs factor"},
           {"rope_scaling: {rope_type: null, attention_factor: 1.2}",
            "model.rope_scaling.attention_factor: is not supported"},
           {"rope_theta: 10000, rope_parameters: {rope_theta: '10000'}", "is set already"},
           {"layer_types: sliding_attention",
            "model.layer_types: expected null or a list, one text for each layer"},
           {"layer_types: {full_attention: 1}", "model.layer_types: expected null or a list"},
           {"rope_scaling: 2", "model.rope_scaling: expected null or a map"},
           {"rope_parameters: {rope_theta: x}", "model.rope_theta: expected a number above 0"},
           {"rope_parameters: {rope_theta: 2}, rope_theta: 3", "'rope_theta' is set already"},
           {"sliding_window: 4096",
            "model.sliding_window: '4096' is not supported: attention here sees"},
           {"use_sliding_window: true", "model.use_sliding_window: 'true'"},
           {"layer_types: [full_attention, sliding_attention]",
            "model.layer_types: 'sliding_attention'"},
           {"partial_rotary_factor: 0.5", "turn the whole head"},
           {"quantization_config: {bits: 4}",
            "model.quantization_config: this value is not supported"},
           {"num_local_experts: 8", "mixtures of experts are not supported yet"},
           {"model_type: gpt2, scale_attn_by_inverse_layer_idx: true",
            "the same scale in all layers"},
           {"model_type: gpt2, n_embd: 8, hidden_size: 9", "'hidden_size' is set already"},
           {"model_type: gpt2, attention_bias: false", "gpt2 always has biases; remove the key"},
           {"model_type: mistral", "expected one of llama, qwen2, qwen3, gpt2, found 'mistral'"},
           {"hidden_size: null", "model.hidden_size: expected a whole number"},
       }) {
    EXPECT_TRUE(says(problems_of("model: {" + fields + "}"), part)) << fields;
  }
}

TEST(HuggingFace, OneMistakeIsOneProblem) {
  const std::string message = problems_of("model: {rope_scaling: {rope_type: yarn}}");
  EXPECT_TRUE(says(message, "model.rope_scaling.rope_type: 'yarn' is not supported"));
  EXPECT_EQ(message.find("a.yaml", 1), std::string::npos) << message;
}

TEST(HuggingFace, TheFamilyMayComeFromAnOverride) {
  EXPECT_EQ(parse("model: {n_embd: 96}", {"model.model_type=gpt2"}).model.hidden_size, 96);
  EXPECT_EQ(parse("model: {model_type: gpt2}", {"model.n_embd=96"}).model.hidden_size, 96);
  EXPECT_FALSE(
      parse("model: {model_type: gpt2, tie_word_embeddings: false}").model.tie_word_embeddings);
}

}  // namespace
}  // namespace frugal
