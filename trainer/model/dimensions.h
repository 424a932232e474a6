// The sizes that every layer is built from: the model of the config on one rank of a layout.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/dtype.h"
#include "trainer/config/config.h"

namespace frugal {

// The frequencies of rotary positions: base, and how they are stretched (ModelConfig).
struct RopeScaling {
  enum class Kind : std::uint8_t { kNone, kLinear, kLlama3 } kind = Kind::kNone;
  double factor = 1.0, low_freq_factor = 1.0, high_freq_factor = 4.0;
  double original_length = 8192.0;
};

// Of every adapter of LoRA; rank 0: there are none.
struct LoraDimensions {
  std::int64_t rank = 0;
  float scale = 0.0F;                // alpha / rank
  std::vector<std::string> targets;  // modules' last names: "q_proj"

  bool adapts(std::string_view module) const;  // "model.layers.0.self_attn.q_proj"
};

struct ModelDimensions {
  // What sets the families apart. Llama and Qwen: RMSNorm, rotary positions, SwiGLU; GPT-2:
  // LayerNorm, learned positions, GELU.
  bool layer_norm = false;         // LayerNorm, with biases, for RMSNorm
  bool learned_positions = false;  // a table, added by the embedding, for rotary positions
  bool gated_mlp = true;           // SwiGLU for GELU
  bool qk_norm = false;            // RMSNorm of each head's query and key before its rotation
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  DType dtype = DType::kF32;         // of weights and activations
  std::int64_t tokens = 0;           // T: tokens of one micro-batch (sequences x sequence length)
  std::int64_t sequence_length = 0;  // S
  std::int64_t hidden = 0;           // D
  std::int64_t intermediate = 0;     // I
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t vocab = 0;          // the tokenizer's; padding is added inside, see vocab_rows()
  std::int64_t max_positions = 0;  // rows of the learned position table
  int layers = 0;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  float norm_eps = 1e-5F;
  float initializer_range = 0.02F;
  bool tied = false;
  bool recompute = false;
  LoraDimensions lora;  // with a rank: the base is frozen
  // Of one chunk of the head's tokens. Every chunk reads the weight and reads and writes its
  // gradient: enough that the products take far longer than that, and no more, for they are part of
  // the peak of memory.
  std::int64_t chunk_logits = std::int64_t{1} << 25;
  std::int64_t chunk_multiple = 1;  // of its tokens, where there are several chunks
  // Chunks of about the same size; otherwise all but the last are as large as they may be, so that
  // fewer tokens never take more memory.
  bool chunks_alike = true;
  int tensor_size = 1, tensor_rank = 0;

  std::int64_t local_tokens() const {
    return tokens / tensor_size;
  }  // between layers tokens are sharded
  std::int64_t local_heads() const { return heads / tensor_size; }
  // Key and value heads are divided among the ranks, or, where there are fewer of them than ranks,
  // each is held by the ranks whose query heads read it; their weights are whole on every rank.
  bool shared_kv_heads() const { return kv_heads % tensor_size != 0; }
  std::int64_t local_kv_heads() const { return shared_kv_heads() ? 1 : kv_heads / tensor_size; }
  std::int64_t first_kv_head() const { return tensor_rank * kv_heads / tensor_size; }
  std::int64_t local_intermediate() const { return intermediate / tensor_size; }
  // Rows of the embedding table and of the head that this rank stores: the vocabulary rounded up to
  // a multiple of the tensor size times 64, divided among the ranks.
  std::int64_t vocab_rows() const;
  std::int64_t vocab_begin() const { return tensor_rank * vocab_rows(); }
  // How many of those rows exist in the vocabulary; the others are padding, always zero.
  std::int64_t vocab_valid_rows() const;
};

// Of weights and activations.
DType compute_dtype(const PrecisionConfig& precision);

// REQUIRES: config is resolved and model.vocab_size is set.
ModelDimensions model_dimensions(const Config& config, int tensor_rank);

}  // namespace frugal
