// Between the metadata of a GGUF and a model's config, both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/checkpoint/foreign_weights.h"
#include "trainer/checkpoint/gguf_file.h"
#include "trainer/config/config.h"

namespace frugal {

// "llama", "qwen2", "qwen3" or "gpt2": the names are those of Hugging Face. Throws Error(kData) for
// others, and for a file that is one of several parts.
std::string gguf_model_type(const GgufContent& content, const std::string& path);

// An integer of the metadata from 0 to 2^31 - 1 under "<architecture>.<key>"; nullopt where there
// is none. Throws Error(kData) where it is another value.
std::optional<std::int64_t> gguf_size(const GgufContent& content, const std::string& path,
                                      const std::string& key);

// A config.json with Hugging Face's keys. rope_factors: the elements of rope_freqs.weight, empty
// where there is none. tie_word_embeddings: there is no output.weight. Throws Error(kData) where a
// key that the family needs is missing or of another type, a key of the family is not known to
// change nothing, or the factors are of no known scaling.
std::string config_of_gguf(const GgufContent& content, const std::string& path,
                           const std::vector<float>& rope_factors);

// nullopt where the metadata has no tokens. Throws Error(kData) where its lists are of other types
// or lengths, or an id is none.
std::optional<GgufTokenizer> tokenizer_of_gguf(const GgufContent& content, const std::string& path);

// The metadata of a model, without its tokenizer: what the common runtimes need to run it. Scaling
// of rotary positions as in llama3 is not in it: tensor kRopeFactors. REQUIRES: a resolved config.
GgufMetadata gguf_metadata_of(const ModelConfig& model, std::int64_t vocab_size);
// Empty where frequencies are not scaled as in llama3.
std::vector<float> rope_factors_of(const ModelConfig& model);

}  // namespace frugal
