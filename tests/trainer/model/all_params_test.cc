// What the layers declare, added up: published sizes, and which parameters decay.
#include <gtest/gtest.h>

#include <set>

#include "tests/equivalence/tiny_training.h"
#include "trainer/model/model.h"

namespace frugal::test {
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
  m.head_dim = 128;
  m.vocab_size = 128256;
  return m;
}

std::int64_t declared(const ModelConfig& model) {
  Config config;
  config.model = model;
  std::int64_t sum = 0;
  for (const ParamSpec& spec : all_params(model_dimensions(config, 0))) sum += spec.global.numel();
  return sum;
}

TEST(AllParams, AddUpToThePublishedSizes) {
  EXPECT_EQ(declared(gpt2(12, 768, 12)), 124'439'808);
  EXPECT_EQ(declared(gpt2(24, 1024, 16)), 354'823'168);
  EXPECT_EQ(declared(gpt2(36, 1280, 20)), 774'030'080);
  EXPECT_EQ(declared(gpt2(48, 1600, 25)), 1'557'611'200);
  EXPECT_EQ(declared(llama(32, 4096, 14336, 32)), 8'030'261'248);
  EXPECT_EQ(declared(llama(80, 8192, 28672, 64)), 70'553'706'496);
  EXPECT_EQ(declared(llama(126, 16384, 53248, 128)), 405'853'388'800);
}

// Matrices decay; norms and biases, which have one dimension, do not.
TEST(AllParams, NormsAndBiasesDoNotDecay) {
  for (const std::string family : {"llama", "gpt2"}) {
    Config config = tiny_config(family, "fp32");
    config.model.attention_bias = config.model.mlp_bias = true;
    std::set<std::string> kinds;
    for (const ParamSpec& spec : all_params(model_dimensions(config, 0))) {
      const bool bias = spec.name.ends_with(".bias");
      const bool norm = spec.name.find("norm") != std::string::npos;
      EXPECT_EQ(spec.decay, !bias && !norm) << family << " " << spec.name;
      EXPECT_EQ(spec.decay, spec.global.rank == 2) << family << " " << spec.name;
      kinds.insert(bias ? "bias" : norm ? "norm" : "matrix");
    }
    EXPECT_EQ(kinds.size(), 3U) << family;
  }
}

}  // namespace
}  // namespace frugal::test
