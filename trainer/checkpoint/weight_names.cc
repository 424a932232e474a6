#include "trainer/checkpoint/weight_names.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace frugal {
namespace {

constexpr std::array kLlama = {
    WeightRule{"model.embed_tokens", "model.embed_tokens"},
    WeightRule{"model.layers.#.input_layernorm", "model.layers.#.input_layernorm"},
    WeightRule{"model.layers.#.self_attn.q_proj", "model.layers.#.self_attn.q_proj"},
    WeightRule{"model.layers.#.self_attn.k_proj", "model.layers.#.self_attn.k_proj"},
    WeightRule{"model.layers.#.self_attn.v_proj", "model.layers.#.self_attn.v_proj"},
    WeightRule{"model.layers.#.self_attn.o_proj", "model.layers.#.self_attn.o_proj"},
    WeightRule{"model.layers.#.self_attn.q_norm", "model.layers.#.self_attn.q_norm"},
    WeightRule{"model.layers.#.self_attn.k_norm", "model.layers.#.self_attn.k_norm"},
    WeightRule{"model.layers.#.post_attention_layernorm",
               "model.layers.#.post_attention_layernorm"},
    WeightRule{"model.layers.#.mlp.gate_proj", "model.layers.#.mlp.gate_proj"},
    WeightRule{"model.layers.#.mlp.up_proj", "model.layers.#.mlp.up_proj"},
    WeightRule{"model.layers.#.mlp.down_proj", "model.layers.#.mlp.down_proj"},
    WeightRule{"model.norm", "model.norm"},
    WeightRule{"lm_head", "lm_head"},
};

constexpr std::array kGpt2 = {
    WeightRule{"model.embed_tokens", "transformer.wte"},
    WeightRule{"model.embed_positions", "transformer.wpe"},
    WeightRule{"model.layers.#.input_layernorm", "transformer.h.#.ln_1"},
    WeightRule{"model.layers.#.self_attn.q_proj", "transformer.h.#.attn.c_attn", 0, 3, true},
    WeightRule{"model.layers.#.self_attn.k_proj", "transformer.h.#.attn.c_attn", 1, 3, true},
    WeightRule{"model.layers.#.self_attn.v_proj", "transformer.h.#.attn.c_attn", 2, 3, true},
    WeightRule{"model.layers.#.self_attn.o_proj", "transformer.h.#.attn.c_proj", 0, 1, true},
    WeightRule{"model.layers.#.post_attention_layernorm", "transformer.h.#.ln_2"},
    WeightRule{"model.layers.#.mlp.up_proj", "transformer.h.#.mlp.c_fc", 0, 1, true},
    WeightRule{"model.layers.#.mlp.down_proj", "transformer.h.#.mlp.c_proj", 0, 1, true},
    WeightRule{"model.norm", "transformer.ln_f"},
    WeightRule{"lm_head", "lm_head"},
};

// The same for llama, whose rotary pairs are neighbours, and for the others.
constexpr auto gguf_rules(RotaryRows query, RotaryRows key) {
  return std::array{
      WeightRule{"model.embed_tokens", "token_embd"},
      WeightRule{"model.layers.#.input_layernorm", "blk.#.attn_norm"},
      WeightRule{"model.layers.#.self_attn.q_proj", "blk.#.attn_q", 0, 1, false, query},
      WeightRule{"model.layers.#.self_attn.k_proj", "blk.#.attn_k", 0, 1, false, key},
      WeightRule{"model.layers.#.self_attn.v_proj", "blk.#.attn_v"},
      WeightRule{"model.layers.#.self_attn.o_proj", "blk.#.attn_output"},
      WeightRule{"model.layers.#.self_attn.q_norm", "blk.#.attn_q_norm"},
      WeightRule{"model.layers.#.self_attn.k_norm", "blk.#.attn_k_norm"},
      WeightRule{"model.layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
      WeightRule{"model.layers.#.mlp.gate_proj", "blk.#.ffn_gate"},
      WeightRule{"model.layers.#.mlp.up_proj", "blk.#.ffn_up"},
      WeightRule{"model.layers.#.mlp.down_proj", "blk.#.ffn_down"},
      WeightRule{"model.norm", "output_norm"},
      WeightRule{"lm_head", "output"},
  };
}
constexpr std::array kGgufLlama = gguf_rules(RotaryRows::kQuery, RotaryRows::kKey);
constexpr std::array kGgufQwen = gguf_rules(RotaryRows::kAsHere, RotaryRows::kAsHere);

constexpr std::array kGgufGpt2 = {
    WeightRule{"model.embed_tokens", "token_embd"},
    WeightRule{"model.embed_positions", "position_embd"},
    WeightRule{"model.layers.#.input_layernorm", "blk.#.attn_norm"},
    WeightRule{"model.layers.#.self_attn.q_proj", "blk.#.attn_qkv", 0, 3},
    WeightRule{"model.layers.#.self_attn.k_proj", "blk.#.attn_qkv", 1, 3},
    WeightRule{"model.layers.#.self_attn.v_proj", "blk.#.attn_qkv", 2, 3},
    WeightRule{"model.layers.#.self_attn.o_proj", "blk.#.attn_output"},
    WeightRule{"model.layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
    WeightRule{"model.layers.#.mlp.up_proj", "blk.#.ffn_up"},
    WeightRule{"model.layers.#.mlp.down_proj", "blk.#.ffn_down"},
    WeightRule{"model.norm", "output_norm"},
    WeightRule{"lm_head", "output"},
};

struct Family {
  std::string_view model_type;
  std::span<const WeightRule> hugging_face, gguf;
};
constexpr std::array kFamilies = {
    Family{"gpt2", kGpt2, kGgufGpt2},
    Family{"llama", kLlama, kGgufLlama},
    Family{"qwen2", kLlama, kGgufQwen},
    Family{"qwen3", kLlama, kGgufQwen},
};

// Masks and frequencies that old versions saved.
constexpr std::array<std::string_view, 3> kNoWeights = {".attn.bias", ".attn.masked_bias",
                                                        ".rotary_emb.inv_freq"};

bool is_number(std::string_view text) {
  const bool digits = std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  return digits && !text.empty() && text.size() <= 6 && (text.size() == 1 || text[0] != '0');
}

}  // namespace

std::span<const WeightRule> weight_rules(WeightFormat format, std::string_view model_type) {
  for (const Family& family : kFamilies) {
    if (family.model_type != model_type) continue;
    return format == WeightFormat::kGguf ? family.gguf : family.hugging_face;
  }
  return {};
}

std::span<const WeightRule> rules_of_theirs(std::span<const WeightRule> rules,
                                            std::string_view module) {
  const auto first = std::ranges::find(rules, module, &WeightRule::theirs);
  if (first == rules.end()) return {};
  return {first, first + first->parts};
}

const WeightRule* rule_of_ours(std::span<const WeightRule> rules, std::string_view module) {
  const auto found = std::ranges::find(rules, module, &WeightRule::ours);
  return found == rules.end() ? nullptr : &*found;
}

std::optional<WeightName> parse_weight_name(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  WeightName parsed;
  parsed.suffix = name.substr(dot + 1);
  if (parsed.suffix != "weight" && parsed.suffix != "bias") return std::nullopt;
  const std::string_view module = name.substr(0, dot);
  for (std::size_t begin = 0; begin <= module.size();) {
    const std::size_t end = std::min(module.find('.', begin), module.size());
    std::string_view word = module.substr(begin, end - begin);
    if (parsed.layer < 0 && is_number(word)) {
      std::from_chars(word.data(), word.data() + word.size(), parsed.layer);
      word = "#";
    }
    if (begin > 0) parsed.module += '.';
    parsed.module += word;
    begin = end + 1;
  }
  return parsed;
}

std::string weight_name(std::string_view module, const WeightName& like) {
  std::string name(module);
  if (const std::size_t mark = name.find('#'); mark != std::string::npos) {
    name.replace(mark, 1, std::to_string(like.layer));
  }
  return name + "." + like.suffix;
}

bool is_no_weight(WeightFormat format, std::string_view name) {
  if (format == WeightFormat::kGguf) return name == kRopeFactors;
  return std::ranges::any_of(kNoWeights, [&](std::string_view end) { return name.ends_with(end); });
}

std::int64_t row_here(std::int64_t row, std::int64_t rows, std::int64_t heads) {
  const std::int64_t pairs = rows / heads / 2, in_head = row % (2 * pairs);
  return row - in_head + in_head % 2 * pairs + in_head / 2;
}

std::int64_t row_there(std::int64_t row, std::int64_t rows, std::int64_t heads) {
  const std::int64_t pairs = rows / heads / 2, in_head = row % (2 * pairs);
  return row - in_head + in_head % pairs * 2 + in_head / pairs;
}

}  // namespace frugal
