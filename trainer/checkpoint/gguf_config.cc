#include "trainer/checkpoint/gguf_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <set>

#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/rope_scaling.h"
#include "trainer/checkpoint/weight_names.h"

namespace frugal {
namespace {

using nlohmann::json;

// Keys behind the name of the family that compute nothing here.
constexpr std::array<std::string_view, 4> kWithoutEffect{"vocab_size", "tensor_data_layout",
                                                         "rope.scaling.original_context_length",
                                                         "rope.scaling.finetuned"};
// Those that are accepted only where they say what is done anyway.
struct Fixed {
  std::string_view key;
  double value;  // of a truth 0 or 1
};
constexpr std::array<Fixed, 6> kFixed{{{"attention.causal", 1},
                                       {"attention.sliding_window", 0},
                                       {"expert_count", 0},
                                       {"expert_used_count", 0},
                                       {"pooling_type", 0},
                                       {"rope.scaling.attn_factor", 1}}};

std::string quoted(const std::string& text) {
  return json(text).dump(-1, ' ', true, json::error_handler_t::replace);
}

// For messages.
std::string text_of(const GgufValue& value) {
  constexpr std::size_t kMost = 60;  // bytes of a text
  if (const auto* whole = std::get_if<std::int64_t>(&value.value)) return std::to_string(*whole);
  if (const auto* number = std::get_if<double>(&value.value)) return json(*number).dump();
  if (const auto* truth = std::get_if<bool>(&value.value)) return *truth ? "true" : "false";
  const auto* text = std::get_if<std::string>(&value.value);
  return text == nullptr ? "a list" : quoted(text->substr(0, kMost));
}

bool equals(const GgufValue& value, double number) {
  if (const auto* whole = std::get_if<std::int64_t>(&value.value)) {
    return static_cast<double>(*whole) == number;
  }
  if (const auto* truth = std::get_if<bool>(&value.value)) return (*truth ? 1 : 0) == number;
  const auto* fraction = std::get_if<double>(&value.value);
  return fraction != nullptr && *fraction == number;
}

// Remembers what was asked for, so that what nobody knows can be refused.
class Metadata {
 public:
  Metadata(const GgufContent& content, const std::string& path) : content_(content), path_(path) {}

  // Null where there is none. Throws where it is of another kind.
  template <class T>
  const T* find(const std::string& key) const {
    known_.insert(key);
    const auto found = content_.metadata.find(key);
    if (found == content_.metadata.end()) return nullptr;
    const T* value = std::get_if<T>(&found->second.value);
    if (value == nullptr) refuse(key, "is of another type than it should be");
    return value;
  }

  template <class T>
  T get(const std::string& key) const {
    const T* value = find<T>(key);
    if (value == nullptr) refuse(key, "is missing");
    return *value;
  }

  std::optional<std::int64_t> find_size(const std::string& key) const {
    const auto* value = find<std::int64_t>(key);
    if (value == nullptr) return std::nullopt;
    if (*value < 0 || *value > std::numeric_limits<std::int32_t>::max()) {
      refuse(key, concat("is ", *value, ", beyond what sizes can be"));
    }
    return *value;
  }

  std::int64_t size(const std::string& key) const {
    const auto value = find_size(key);
    if (!value) refuse(key, "is missing");
    return *value;
  }

  const ForeignTensor* tensor(std::string_view name) const {
    const auto found = std::ranges::find(content_.tensors, name, &ForeignTensor::name);
    return found == content_.tensors.end() ? nullptr : &*found;
  }

  // Keys of the family that were neither asked for nor are known to change nothing may change what
  // the model computes.
  void refuse_unknown(const std::string& family) const {
    for (const auto& [key, value] : content_.metadata) {
      if (!key.starts_with(family + ".") || known_.contains(key)) continue;
      const std::string_view name = std::string_view(key).substr(family.size() + 1);
      if (std::ranges::find(kWithoutEffect, name) != kWithoutEffect.end()) continue;
      const auto* fixed = std::ranges::find(kFixed, name, &Fixed::key);
      if (fixed != kFixed.end() && equals(value, fixed->value)) continue;
      refuse(key, concat("is ", text_of(value),
                         ", which is not supported: it may change what the model computes"));
    }
  }

  [[noreturn]] void refuse(const std::string& key, std::string_view why) const {
    fail(ErrorKind::kData, path_, ": metadata ", key, " ", why);
  }

 private:
  const GgufContent& content_;
  const std::string& path_;
  mutable std::set<std::string, std::less<>> known_;
};

// The shortest decimal that is this float32, as a config would have it: 1e-05 and not
// 9.99999974737875e-06.
double shortest(double value) {
  const auto single = static_cast<float>(value);
  if (double{single} != value) return value;  // an F64
  std::array<char, 32> text{};
  const char* end = std::to_chars(text.data(), text.data() + text.size(), single).ptr;
  std::from_chars(text.data(), end, value);
  return value;
}

// What all families have.
json common_config(const Metadata& in, const std::string& type) {
  json config{{"model_type", type}, {"tie_word_embeddings", in.tensor("output.weight") == nullptr}};
  const ForeignTensor* table = in.tensor("token_embd.weight");
  if (table == nullptr || table->shape.empty()) in.refuse("tensors", "hold no token_embd.weight");
  config["vocab_size"] = table->shape[0];
  for (const auto& [key, field] : {std::pair{"bos", "bos_token_id"}, {"eos", "eos_token_id"}}) {
    const auto id = in.find_size(concat("tokenizer.ggml.", key, "_token_id"));
    if (id) config[field] = *id;
  }
  return config;
}

json gpt2_config(const Metadata& in) {
  json config = common_config(in, "gpt2");
  config["n_embd"] = in.size("gpt2.embedding_length");
  config["n_layer"] = in.size("gpt2.block_count");
  config["n_head"] = in.size("gpt2.attention.head_count");
  config["n_positions"] = in.size("gpt2.context_length");
  config["n_inner"] = in.size("gpt2.feed_forward_length");
  config["layer_norm_epsilon"] = shortest(in.get<double>("gpt2.attention.layer_norm_epsilon"));
  config["activation_function"] = "gelu_new";
  return config;
}

// Scalings under their name in the metadata are passed on: whoever reads the config knows which of
// them it can compute.
json rope_scaling(const Metadata& in, const std::string& type, double theta,
                  const std::vector<float>& factors) {
  const auto* name = in.find<std::string>(type + ".rope.scaling.type");
  const auto* factor = in.find<double>(type + ".rope.scaling.factor");
  const auto* older = in.find<double>(type + ".rope.scale_linear");
  if (factor == nullptr) factor = older;
  // A factor without a name is that of linear scaling; 0 and 1 are none.
  const bool scaled =
      name != nullptr ? *name != "none" : factor != nullptr && *factor != 0.0 && *factor != 1.0;
  if (scaled) {
    if (!factors.empty()) {
      in.refuse("tensor rope_freqs.weight", "scales rotary positions that metadata scales already");
    }
    json scaling{{"rope_type", name != nullptr ? *name : "linear"}};
    if (factor != nullptr) scaling["factor"] = shortest(*factor);
    return scaling;
  }
  if (factors.empty()) return nullptr;
  const auto llama3 = llama3_scaling_of(factors, theta);
  if (!llama3) {
    in.refuse("tensor rope_freqs.weight", "holds factors of no known scaling of rotary positions");
  }
  return {{"rope_type", "llama3"},
          {"factor", llama3->factor},
          {"low_freq_factor", llama3->low_freq_factor},
          {"high_freq_factor", llama3->high_freq_factor},
          {"original_max_position_embeddings", llama3->original_max_position_embeddings}};
}

json llama_config(const Metadata& in, const std::string& type, const std::vector<float>& factors) {
  json config = common_config(in, type);
  const auto key = [&](std::string_view name) { return concat(type, ".", name); };
  const std::int64_t width = in.size(key("embedding_length"));
  const std::int64_t heads = in.size(key("attention.head_count"));
  const std::int64_t head_dim =
      in.find_size(key("attention.key_length")).value_or(width / std::max<std::int64_t>(heads, 1));
  for (const std::string& length : {key("attention.value_length"), key("rope.dimension_count")}) {
    if (const auto other = in.find_size(length); other && *other != head_dim) {
      in.refuse(length, concat("is ", *other, ", but heads here have one size, ", head_dim));
    }
  }
  config["hidden_size"] = width;
  config["intermediate_size"] = in.size(key("feed_forward_length"));
  config["num_hidden_layers"] = in.size(key("block_count"));
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = in.find_size(key("attention.head_count_kv")).value_or(heads);
  config["head_dim"] = head_dim;
  config["max_position_embeddings"] = in.size(key("context_length"));
  config["rms_norm_eps"] = shortest(in.get<double>(key("attention.layer_norm_rms_epsilon")));
  config["hidden_act"] = "silu";
  const auto* base = in.find<double>(key("rope.freq_base"));
  const double theta = base == nullptr ? 10000.0 : shortest(*base);
  config["rope_theta"] = theta;
  config["rope_scaling"] = rope_scaling(in, type, theta, factors);
  if (type != "qwen2") config["attention_bias"] = in.tensor("blk.0.attn_q.bias") != nullptr;
  if (type == "llama") config["mlp_bias"] = in.tensor("blk.0.ffn_up.bias") != nullptr;
  return config;
}

}  // namespace

std::string gguf_model_type(const GgufContent& content, const std::string& path) {
  const Metadata in(content, path);
  const std::int64_t parts = in.find_size("split.count").value_or(1);
  if (parts > 1) in.refuse("split.count", concat("is ", parts, ": merge the parts into one file"));
  auto type = in.get<std::string>("general.architecture");
  if (weight_rules(WeightFormat::kGguf, type).empty()) {
    in.refuse("general.architecture",
              concat("is ", quoted(type), "; llama, qwen2, qwen3 and gpt2 can be read"));
  }
  return type;
}

std::optional<std::int64_t> gguf_size(const GgufContent& content, const std::string& path,
                                      const std::string& key) {
  return Metadata(content, path).find_size(gguf_model_type(content, path) + "." + key);
}

std::string config_of_gguf(const GgufContent& content, const std::string& path,
                           const std::vector<float>& rope_factors) {
  const Metadata in(content, path);
  const std::string type = gguf_model_type(content, path);
  const json config = type == "gpt2" ? gpt2_config(in) : llama_config(in, type, rope_factors);
  in.refuse_unknown(type);
  return config.dump(2, ' ', true, json::error_handler_t::replace);
}

std::optional<GgufTokenizer> tokenizer_of_gguf(const GgufContent& content,
                                               const std::string& path) {
  const Metadata in(content, path);
  const auto key = [](std::string_view name) { return concat("tokenizer.ggml.", name); };
  const auto* tokens = in.find<GgufValue::Texts>(key("tokens"));
  if (tokens == nullptr) return std::nullopt;
  GgufTokenizer out;
  out.tokens = *tokens;
  out.model = in.get<std::string>(key("model"));
  if (const auto* pre = in.find<std::string>(key("pre"))) out.pre = *pre;
  if (const auto* merges = in.find<GgufValue::Texts>(key("merges"))) out.merges = *merges;
  if (const auto* types = in.find<GgufValue::Integers>(key("token_type"))) {
    if (types->size() != tokens->size()) {
      in.refuse(key("token_type"),
                concat("has ", types->size(), " entries for ", tokens->size(), " tokens"));
    }
    for (const std::int64_t type : *types) out.types.push_back(static_cast<int>(type));
  }
  const auto id = [&](std::string_view name) -> std::optional<int> {
    const auto number = in.find_size(key(name));
    if (!number) return std::nullopt;
    if (*number >= static_cast<std::int64_t>(tokens->size())) {
      in.refuse(key(name), concat("is ", *number, " of ", tokens->size(), " tokens"));
    }
    return static_cast<int>(*number);
  };
  out.bos = id("bos_token_id");
  out.eos = id("eos_token_id");
  out.unknown = id("unknown_token_id");
  out.padding = id("padding_token_id");
  if (const auto* add = in.find<bool>(key("add_bos_token"))) out.add_bos = *add;
  if (const auto* chat = in.find<std::string>("tokenizer.chat_template")) out.chat_template = *chat;
  return out;
}

}  // namespace frugal
