#include "trainer/metrics/flops.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "kernels/core/arena.h"
#include "kernels/core/check.h"
#include "kernels/core/stream.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/matmul.h"

namespace frugal {
namespace {

// Weights of a linear layer, with its bias if it has one.
std::int64_t linear(std::int64_t in, std::int64_t out, bool bias) {
  return in * out + (bias ? out : 0);
}

// Rows of embedding tables that are looked up and never multiplied.
std::int64_t lookup_parameters(const ModelConfig& m) {
  std::int64_t rows = m.tie_word_embeddings ? 0 : *m.vocab_size;
  if (m.model_type == "gpt2") rows += m.max_position_embeddings;
  return rows * m.hidden_size;
}

}  // namespace

std::int64_t parameter_count(const ModelConfig& m) {
  FRUGAL_CHECK(m.vocab_size.has_value() && m.intermediate_size > 0 && m.num_key_value_heads > 0 &&
                   m.head_dim > 0,
               "model config is not resolved");
  const bool gpt2 = m.model_type == "gpt2";
  const std::int64_t d = m.hidden_size, f = m.intermediate_size, vocab = *m.vocab_size;
  const std::int64_t q = std::int64_t{m.num_attention_heads} * m.head_dim;
  const std::int64_t kv = std::int64_t{m.num_key_value_heads} * m.head_dim;
  const bool qwen2 = m.model_type == "qwen2";
  const bool qkv_bias = gpt2 || qwen2 || m.attention_bias;
  const bool output_bias = gpt2 || (m.attention_bias && !qwen2);
  const bool mlp_bias = gpt2 || m.mlp_bias;
  const std::int64_t qk_norm = m.model_type == "qwen3" ? 2 * m.head_dim : 0;
  const std::int64_t norm = gpt2 ? 2 * d : d;  // LayerNorm has a bias, RMSNorm has none

  const std::int64_t attention =
      linear(d, q, qkv_bias) + 2 * linear(d, kv, qkv_bias) + linear(q, d, output_bias) + qk_norm;
  const std::int64_t mlp = (gpt2 ? 1 : 2) * linear(d, f, mlp_bias) + linear(f, d, mlp_bias);
  const std::int64_t positions = gpt2 ? m.max_position_embeddings * d : 0;
  const std::int64_t head = m.tie_word_embeddings ? 0 : vocab * d;
  return vocab * d + positions + m.num_hidden_layers * (attention + mlp + 2 * norm) + norm + head;
}

std::int64_t trained_parameter_count(const ModelConfig& m, const LoraConfig& lora) {
  if (lora.rank == 0) return parameter_count(m);
  const std::int64_t q = std::int64_t{m.num_attention_heads} * m.head_dim;
  const std::int64_t kv = std::int64_t{m.num_key_value_heads} * m.head_dim;
  std::int64_t sides = 0;  // inputs and outputs of the adapted maps of one layer
  for (const std::string& target : lora.targets) {
    sides += target == "q_proj" || target == "o_proj"   ? m.hidden_size + q
             : target == "k_proj" || target == "v_proj" ? m.hidden_size + kv
                                                        : m.hidden_size + m.intermediate_size;
  }
  return m.num_hidden_layers * sides * lora.rank;
}

double training_flops_per_token(const ModelConfig& m, const LoraConfig& lora, int sequence_length) {
  const auto multiplied = static_cast<double>(parameter_count(m) - lookup_parameters(m));
  const double attention_width = static_cast<double>(m.num_attention_heads) * m.head_dim;
  const double mean_keys = sequence_length / 2.0;
  const double linear =
      lora.rank == 0 ? 6 * multiplied
                     : 4 * multiplied + 6 * static_cast<double>(trained_parameter_count(m, lora));
  return linear + 3.0 * m.num_hidden_layers * 2 * (2 * attention_width) * mean_keys;
}

double measure_matmul_peak(Device device, DType dtype) {
  using Clock = std::chrono::steady_clock;
  constexpr double kBudgetSeconds = 0.25;
  const std::int64_t size = on_host(device) ? 1024 : 4096;
  const double flop = 2.0 * std::pow(static_cast<double>(size), 3.0);
  Arena arena(device, 3 * aligned(static_cast<std::size_t>(size * size) * size_of(dtype)));
  const auto stream = make_stream(device, "matmul peak");
  std::uint64_t key = 0;
  const auto random = [&](const char* name) {
    const Tensor out = arena.allocate(name, {size, size}, dtype);
    ops::normal_fill(*stream, {.out_RC = out, .key = ++key, .global_columns = size});
    return out;
  };
  const MatmulArgs args{
      .out_MN = arena.allocate("out", {size, size}, dtype), .a = random("a"), .b = random("b")};
  stream->synchronize();
  double best = 1e30;
  double spent = 0;
  do {  // the first run also builds the kernel and pays for page faults: never the best of several
    const auto begin = Clock::now();
    ops::matmul(*stream, args);
    stream->synchronize();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::min(best, seconds);
    spent += seconds;
  } while (spent + best < kBudgetSeconds);
  return flop / best;
}

}  // namespace frugal
