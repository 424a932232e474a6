#include "trainer/engine/load_tokenizer.h"

#include "nlohmann/json.hpp"
#include "trainer/checkpoint/foreign_weights.h"
#include "trainer/data/tokenizer_json.h"

namespace frugal {
namespace {

const GgufTokenizer& tokenizer_of(const ForeignWeights& file) {
  const GgufTokenizer* tokenizer = file.tokenizer();
  if (tokenizer == nullptr) fail(ErrorKind::kData, file.path(), ": holds no tokenizer");
  if (tokenizer->model != "gpt2") {
    fail(ErrorKind::kData, file.path(), ": tokenizer.ggml.model is '", tokenizer->model,
         "', expected 'gpt2': only byte-level BPE can be read");
  }
  return *tokenizer;
}

std::string json_of(const GgufTokenizer& tokenizer, const std::string& path) {
  using Kind = SpelledTokenizer::Kind;
  SpelledTokenizer out{.pre = tokenizer.pre,
                       .tokens = tokenizer.tokens,
                       .kinds = {},
                       .merges = tokenizer.merges,
                       .begin_of_text = {}};
  for (const int type : tokenizer.types) {
    out.kinds.push_back(type == 3 ? Kind::kSpecial : type == 4 ? Kind::kUser : Kind::kNormal);
  }
  if (tokenizer.add_bos) out.begin_of_text = tokenizer.bos;
  return tokenizer_json_of(out, path);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> gguf_tokenizer_files(const std::string& path) {
  const auto file = ForeignWeights::open(path);
  const GgufTokenizer& tokenizer = tokenizer_of(*file);
  nlohmann::json settings = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                             {"add_bos_token", tokenizer.add_bos},
                             {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* key, std::optional<int> id) {
    if (id && *id >= 0 && *id < std::ssize(tokenizer.tokens)) {
      settings[key] = tokenizer.tokens[static_cast<std::size_t>(*id)];
    }
  };
  name("bos_token", tokenizer.bos);
  name("eos_token", tokenizer.eos);
  name("unk_token", tokenizer.unknown);
  name("pad_token", tokenizer.padding);
  if (!tokenizer.chat_template.empty()) settings["chat_template"] = tokenizer.chat_template;
  return {{"tokenizer.json", json_of(tokenizer, path)},
          {"tokenizer_config.json", settings.dump(2) + "\n"}};
}

Tokenizer load_tokenizer(const std::string& path) {
  if (!path.ends_with(".gguf")) return Tokenizer::load(path);
  const auto file = ForeignWeights::open(path);
  const GgufTokenizer& tokenizer = tokenizer_of(*file);
  std::vector<std::int32_t> ends;
  if (tokenizer.eos) ends.push_back(*tokenizer.eos);
  return Tokenizer::from_json(json_of(tokenizer, path), path, ends);
}

}  // namespace frugal
