#include "trainer/metrics/flops.h"

#include <gtest/gtest.h>

namespace frugal {
namespace {

ModelConfig gpt2(int layers, int width, int heads) {
  ModelConfig m;
  m.model_type = "gpt2";
  m.num_hidden_layers = layers;
  m.hidden_size = width;
  m.intermediate_size = 4 * width;
  m.num_attention_heads = m.num_key_value_heads = heads;
  m.head_dim = width / heads;
  m.vocab_size = 50257;
  m.max_position_embeddings = 1024;
  m.tie_word_embeddings = true;
  return m;
}

ModelConfig llama(int layers, int width, int intermediate, int heads) {
  ModelConfig m;
  m.num_hidden_layers = layers;
  m.hidden_size = width;
  m.intermediate_size = intermediate;
  m.num_attention_heads = heads;
  m.num_key_value_heads = 8;
  m.head_dim = width / heads;
  m.vocab_size = 128256;
  return m;
}

TEST(ParameterCount, PublishedModels) {
  EXPECT_EQ(parameter_count(gpt2(12, 768, 12)), 124'439'808);
  EXPECT_EQ(parameter_count(gpt2(24, 1024, 16)), 354'823'168);
  EXPECT_EQ(parameter_count(gpt2(36, 1280, 20)), 774'030'080);
  EXPECT_EQ(parameter_count(gpt2(48, 1600, 25)), 1'557'611'200);
  EXPECT_EQ(parameter_count(llama(32, 4096, 14336, 32)), 8'030'261'248);
  EXPECT_EQ(parameter_count(llama(80, 8192, 28672, 64)), 70'553'706'496);
  EXPECT_EQ(parameter_count(llama(126, 16384, 53248, 128)), 405'853'388'800);
}

ModelConfig qwen(const std::string& family, int layers, int width, int intermediate) {
  ModelConfig m = llama(layers, width, intermediate, 1);
  m.model_type = family;
  m.head_dim = 128;
  m.vocab_size = 152064;
  return m;
}

TEST(ParameterCount, QwenModels) {
  ModelConfig qwq = qwen("qwen2", 64, 5120, 27648);
  qwq.num_attention_heads = 40;
  EXPECT_EQ(parameter_count(qwq), 32'763'876'352);
  ModelConfig small = qwen("qwen3", 28, 1024, 3072);
  small.num_attention_heads = 16;
  small.vocab_size = 151936;
  small.tie_word_embeddings = true;
  EXPECT_EQ(parameter_count(small), 596'049'920);
}

TEST(ParameterCount, BiasesAndTying) {
  ModelConfig m = llama(2, 64, 160, 8);
  m.vocab_size = 100;
  m.num_key_value_heads = 2;
  const std::int64_t plain = parameter_count(m);
  m.attention_bias = true;
  EXPECT_EQ(parameter_count(m) - plain, 2 * (64 + 2 * 16 + 64));
  m.attention_bias = false;
  m.mlp_bias = true;
  EXPECT_EQ(parameter_count(m) - plain, 2 * (160 + 160 + 64));
  m.mlp_bias = false;
  m.tie_word_embeddings = true;
  EXPECT_EQ(plain - parameter_count(m), 100 * 64);
}

TEST(TrainingFlops, LookedUpTablesDoNotCount) {
  // GPT-2 124M: positions are looked up, the tied token table multiplies in the head.
  const double linear = 6.0 * (124'439'808 - 1024 * 768);
  const double attention = 6.0 * 12 * 768 * 1024;  // 3 passes, 2 products, 2 FLOPs, half the keys
  EXPECT_DOUBLE_EQ(training_flops_per_token(gpt2(12, 768, 12), {}, 1024), linear + attention);
  // Llama-3.1 405B at 4096 tokens: 2473 GFLOP a token.
  EXPECT_NEAR(training_flops_per_token(llama(126, 16384, 53248, 128), {}, 4096), 2473e9, 0.5e9);
}

TEST(TrainingFlops, OfLora) {
  // Of SmolLM2-135M: q and o 576 x 576, k and v 576 x 192, the MLP 576 x 1536.
  ModelConfig m = llama(30, 576, 1536, 9);
  m.num_key_value_heads = 3;
  m.head_dim = 64;
  m.vocab_size = 49152;
  m.tie_word_embeddings = true;
  EXPECT_EQ(parameter_count(m), 134'515'008);
  LoraConfig lora;
  EXPECT_EQ(trained_parameter_count(m, lora), parameter_count(m));
  lora.rank = 8;
  EXPECT_EQ(trained_parameter_count(m, lora), 921'600);  // as PEFT counts them
  const double attention = 6.0 * 30 * 576 * 512;
  EXPECT_DOUBLE_EQ(training_flops_per_token(m, lora, 512),
                   4.0 * 134'515'008 + 6.0 * 921'600 + attention);
  lora.targets = {"k_proj", "gate_proj", "up_proj", "down_proj"};
  EXPECT_EQ(trained_parameter_count(m, lora), 30 * 8 * (576 + 192 + 3 * (576 + 1536)));
}

TEST(MatmulPeak, IsTheSpeedOfThisMachine) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const double peak = measure_matmul_peak({}, dtype);
    EXPECT_GT(peak, 1e8);
    EXPECT_LT(peak, 1e15);
  }
}

}  // namespace
}  // namespace frugal
