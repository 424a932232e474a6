#include "trainer/config/hugging_face.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "trainer/config/value.h"

namespace frugal::config {
namespace {

// What other programs note of a model, how they run and sample it, and dropout: models here are
// trained and run without it.
constexpr std::array<std::string_view, 82> kWithoutEffect{"_attn_implementation",
                                                          "_attn_implementation_autoset",
                                                          "_name_or_path",
                                                          "_num_labels",
                                                          "architectures",
                                                          "attention_dropout",
                                                          "attn_implementation",
                                                          "attn_pdrop",
                                                          "bad_words_ids",
                                                          "begin_suppress_tokens",
                                                          "bos_token_id",
                                                          "chunk_size_feed_forward",
                                                          "decoder_start_token_id",
                                                          "diversity_penalty",
                                                          "do_sample",
                                                          "dtype",
                                                          "early_stopping",
                                                          "embd_pdrop",
                                                          "encoder_no_repeat_ngram_size",
                                                          "eos_token_id",
                                                          "exponential_decay_length_penalty",
                                                          "finetuning_task",
                                                          "forced_bos_token_id",
                                                          "forced_eos_token_id",
                                                          "gradient_checkpointing",
                                                          "hidden_dropout",
                                                          "id2label",
                                                          "is_llama_config",
                                                          "keys_to_ignore_at_inference",
                                                          "label2id",
                                                          "length_penalty",
                                                          "max_length",
                                                          "max_new_tokens",
                                                          "max_window_layers",
                                                          "min_length",
                                                          "model_name",
                                                          "n_ctx",
                                                          "n_special",
                                                          "name_or_path",
                                                          "no_repeat_ngram_size",
                                                          "num_beam_groups",
                                                          "num_beams",
                                                          "num_labels",
                                                          "num_return_sequences",
                                                          "output_attentions",
                                                          "output_hidden_states",
                                                          "output_past",
                                                          "output_scores",
                                                          "pad_token_id",
                                                          "predict_special_tokens",
                                                          "prefix",
                                                          "pretraining_tp",
                                                          "problem_type",
                                                          "remove_invalid_values",
                                                          "reorder_and_upcast_attn",
                                                          "repetition_penalty",
                                                          "resid_pdrop",
                                                          "return_dict",
                                                          "return_dict_in_generate",
                                                          "sep_token_id",
                                                          "summary_activation",
                                                          "summary_first_dropout",
                                                          "summary_proj_to_labels",
                                                          "summary_type",
                                                          "summary_use_proj",
                                                          "suppress_tokens",
                                                          "task_specific_params",
                                                          "temperature",
                                                          "tf_legacy_loss",
                                                          "tokenizer_class",
                                                          "top_k",
                                                          "top_p",
                                                          "torch_dtype",
                                                          "torchscript",
                                                          "transformers.js_config",
                                                          "transformers_version",
                                                          "typical_p",
                                                          "unk_token_id",
                                                          "unsloth_fixed",
                                                          "unsloth_version",
                                                          "use_bfloat16",
                                                          "use_cache"};

constexpr std::array<Rename, 7> kGpt2Names{{{"n_embd", "hidden_size"},
                                            {"n_layer", "num_hidden_layers"},
                                            {"n_head", "num_attention_heads"},
                                            {"n_positions", "max_position_embeddings"},
                                            {"n_inner", "intermediate_size"},
                                            {"layer_norm_epsilon", "rms_norm_eps"},
                                            {"layer_norm_eps", "rms_norm_eps"}}};

// Of rope_scaling and rope_parameters.
constexpr std::array<Rename, 7> kRopeNames{
    {{"rope_theta", "rope_theta"},
     {"rope_type", "rope_type"},
     {"type", "rope_type"},
     {"factor", "rope_factor"},
     {"low_freq_factor", "rope_low_freq_factor"},
     {"high_freq_factor", "rope_high_freq_factor"},
     {"original_max_position_embeddings", "rope_original_max_position_embeddings"}}};

// What a scaling of rotary positions is made of.
struct Need {
  std::string_view type, name;
};
constexpr std::array<Need, 5> kRopeNeeds{{{"linear", "factor"},
                                          {"llama3", "factor"},
                                          {"llama3", "low_freq_factor"},
                                          {"llama3", "high_freq_factor"},
                                          {"llama3", "original_max_position_embeddings"}}};

// Ours, where null in a config.json means the default.
constexpr std::array<std::string_view, 3> kNullIsDefault{"intermediate_size", "num_key_value_heads",
                                                         "head_dim"};

// A field that is accepted only where it says what is done anyway. allowed: between spaces.
struct Fixed {
  std::string_view name, allowed, reason;
};
constexpr std::string_view kNoWindow = "attention here sees the whole sequence";
constexpr std::string_view kNoExperts = "mixtures of experts are not supported yet";
constexpr std::string_view kDecoder = "models here are decoders of one text";
constexpr std::array<Fixed, 25> kFixed{{
    {"use_sliding_window", " false null ", kNoWindow},
    {"partial_rotary_factor", " 1 null ", "rotary positions here turn the whole head"},
    {"rope_interleaved", " false null ", "rotary pairs here are the two halves of a head"},
    {"use_mrope", " false null ", "positions here have one dimension"},
    {"scale_attn_weights", " true ", "attention here is divided by the root of head_dim"},
    {"scale_attn_by_inverse_layer_idx", " false ",
     "attention here has the same scale in all layers"},
    {"add_cross_attention", " false ", kDecoder},
    {"is_encoder_decoder", " false ", kDecoder},
    {"is_decoder", " false true ", kDecoder},
    {"cross_attention_hidden_size", " null ", kDecoder},
    {"tie_encoder_decoder", " false ", kDecoder},
    {"pruned_heads", " null {} ", "every head here is computed"},
    {"quantization_config", " null ",
     "weights here are trained in the format of precision.compute"},
    {"auto_map", " null ", "no code is read from a model's folder"},
    {"use_qk_norm", " false ", "queries and keys here are not normalised"},
    {"qk_norm", " false ", "queries and keys here are not normalised"},
    {"attn_logit_softcapping", " null ", "attention scores here are not capped"},
    {"final_logit_softcapping", " null ", "logits here are not capped"},
    {"num_experts", " 0 null ", kNoExperts},
    {"num_local_experts", " 0 null ", kNoExperts},
    {"n_routed_experts", " 0 null ", kNoExperts},
    {"num_experts_per_tok", " 0 null ", kNoExperts},
    {"num_nextn_predict_layers", " 0 null ", "only the next token is predicted here"},
    {"kv_lora_rank", " null ", "latent attention is not supported yet"},
    {"q_lora_rank", " null ", "latent attention is not supported yet"},
}};

// How a value stands in an allowed list.
std::string word_of(const Node& node) {
  if (node.kind == Node::Kind::kNull) return "null";
  if (node.kind == Node::Kind::kMap && node.entries.empty()) return "{}";
  if (node.kind != Node::Kind::kScalar) return "[...]";
  const auto number = as_number(node);
  if (number && *number == 0.0) return "0";
  if (number && *number == 1.0) return "1";
  return node.text;
}

bool allows(std::string_view allowed, const Node& node) {
  return allowed.find(" " + word_of(node) + " ") != std::string_view::npos;
}

// " 0 null " -> "0 or null"
std::string list_of(std::string_view allowed) {
  std::string out(allowed.substr(1, allowed.size() - 2));
  for (auto space = out.find(' '); space != std::string::npos; space = out.find(' ', space + 4)) {
    out.replace(space, 1, " or ");
  }
  return out;
}

// 10000 and 10000.0 are.
bool same(const Node& a, const Node& b) {
  const auto left = as_number(a), right = as_number(b);
  if (left || right) return left == right;
  return a.kind == b.kind && a.text == b.text;
}

class Translator {
 public:
  Translator(std::string_view model_type, Problems& problems)
      : model_type_(model_type), gpt2_(model_type == "gpt2"), problems_(problems) {}

  void add(const Entry& entry) {
    if (std::ranges::find(kWithoutEffect, entry.key) != kWithoutEffect.end()) return;
    if (entry.key == "hidden_act" || entry.key == "activation_function") return activation(entry);
    if (entry.key == "rope_scaling" || entry.key == "rope_parameters") return rope(entry);
    if (entry.key == "layer_types") return layer_types(entry);
    if (entry.key == "sliding_window") return sliding_window(entry);
    const auto fixed = std::ranges::find(kFixed, entry.key, &Fixed::name);
    if (fixed != kFixed.end()) {
      require(entry, fixed->allowed, fixed->reason);
      return;
    }
    Entry ours = entry;
    const auto renamed = std::ranges::find(kGpt2Names, entry.key, &Rename::theirs);
    if (gpt2_ && renamed != kGpt2Names.end()) ours.key = renamed->ours;
    keep(std::move(ours), entry.key);
  }

  std::vector<Entry> take() { return std::move(entries_); }

 private:
  void refuse(const Position& at, std::string_view key, const std::string& why) {
    problems_.add(at, "model." + std::string(key) + ": " + why);
  }

  // False where it is refused.
  bool require(const Entry& entry, std::string_view allowed, std::string_view reason) {
    if (allows(allowed, entry.value)) return true;
    const bool scalar = entry.value.kind == Node::Kind::kScalar;
    refuse(entry.value.at, entry.key,
           (scalar ? quoted(entry.value.text) : "this value") + " is not supported: " +
               std::string(reason) + "; only " + list_of(allowed) + " is accepted");
    return false;
  }

  void activation(const Entry& entry) {
    if (gpt2_) {
      require(entry, " gelu_new gelu_pytorch_tanh ",
              "the MLP of gpt2 uses the tanh approximation of GELU");
    } else {
      require(entry, " silu swish ", "the MLP of " + model_type_ + " uses SiLU");
    }
  }

  // null, or a map.
  void rope(const Entry& entry) {
    if (entry.value.kind == Node::Kind::kNull) return;
    if (entry.value.kind != Node::Kind::kMap) {
      return refuse(entry.value.at, entry.key, "expected null or a map");
    }
    std::string type;
    for (const Entry& part : entry.value.entries) {
      if (part.value.kind == Node::Kind::kNull) continue;  // as if it were not there
      const Entry named{entry.key + "." + part.key, part.key_at, part.value};
      const auto known = std::ranges::find(kRopeNames, part.key, &Rename::theirs);
      if (part.key == "partial_rotary_factor") {
        require(named, " 1 ", "rotary positions here turn the whole head");
      } else if (known == kRopeNames.end()) {
        refuse(part.key_at, named.key,
               "is not supported: rotary positions here are plain, linear or llama3");
      } else if (known->ours != "rope_type") {
        keep({std::string(known->ours), part.key_at, part.value}, named.key);
      } else if (require(named, " default linear llama3 ",
                         "rotary positions here are plain, or scaled in one of two ways")) {
        type = part.value.text;
        keep({std::string(known->ours), part.key_at, part.value}, named.key);
      }
    }
    need_parameters(entry, type);
  }

  // Our defaults are not what the file means.
  void need_parameters(const Entry& entry, std::string_view type) {
    for (const auto& [of, name] : kRopeNeeds) {
      if (of != type) continue;
      const Node* value = entry.value.find(name);
      if (value == nullptr || value->kind == Node::Kind::kNull) {
        refuse(entry.key_at, entry.key,
               std::string(type) + " needs " + std::string(name) + ", which is not said there");
      }
    }
  }

  // Those of Qwen are there without effect unless use_sliding_window says so, which is refused.
  void sliding_window(const Entry& entry) {
    if (model_type_.starts_with("qwen")) return;
    require(entry, " null ", kNoWindow);
  }

  void layer_types(const Entry& entry) {
    if (entry.value.kind != Node::Kind::kList && entry.value.kind != Node::Kind::kNull) {
      return refuse(entry.value.at, entry.key, "expected null or a list, one text for each layer");
    }
    for (const Node& item : entry.value.items) {
      require({entry.key, entry.key_at, item}, " full_attention ", kNoWindow);
    }
  }

  void keep(Entry entry, std::string_view written) {
    if (entry.value.kind == Node::Kind::kNull &&
        std::ranges::find(kNullIsDefault, entry.key) != kNullIsDefault.end()) {
      return;
    }
    // Older and newer names may stand there together, such as rope_theta in and beside
    // rope_parameters.
    const auto [place, is_new] = places_.emplace(entry.key, entries_.size());
    if (!is_new) {
      if (same(entries_[place->second].value, entry.value)) return;
      return refuse(entry.key_at, written,
                    "'" + entry.key + "' is set already, by another name of the same; remove one");
    }
    entries_.push_back(std::move(entry));
  }

  std::string model_type_;
  bool gpt2_;
  Problems& problems_;
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> places_;  // in entries_
};

}  // namespace

std::vector<Entry> translate_model(const Node& section, std::string_view model_type,
                                   Problems& problems) {
  Translator translator(model_type, problems);
  for (const Entry& entry : section.entries) translator.add(entry);
  return translator.take();
}

std::vector<std::string_view> fields_without_effect() {
  return {kWithoutEffect.begin(), kWithoutEffect.end()};
}

void complete_family(Config& config, Problems& problems) {
  ModelConfig& model = config.model;
  const bool gpt2 = model.model_type == "gpt2", qwen2 = model.model_type == "qwen2";
  const auto fix = [&](const char* name, bool& value, bool right, const char* reason) {
    const auto origin = config.origins.find(name);
    if (value != right && origin != config.origins.end()) {
      problems.add(origin->second, std::string(name) + ": " + reason + "; remove the key");
    }
    value = right;
  };
  if (gpt2 && !config.origins.contains("model.tie_word_embeddings")) {
    model.tie_word_embeddings = true;
  }
  if (gpt2) {
    fix("model.attention_bias", model.attention_bias, true, "gpt2 always has biases");
    fix("model.mlp_bias", model.mlp_bias, true, "gpt2 always has biases");
  } else if (qwen2) {
    fix("model.attention_bias", model.attention_bias, true,
        "qwen2 always has biases on queries, keys and values");
  }
  if (model.model_type.starts_with("qwen")) {
    fix("model.mlp_bias", model.mlp_bias, false, "the MLPs of Qwen have no biases");
  }
}

std::vector<Rename> gpt2_names() {
  return {kGpt2Names.begin(), kGpt2Names.end()};
}

}  // namespace frugal::config
