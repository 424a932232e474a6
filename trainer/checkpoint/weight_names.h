// What files call the weights that here have Hugging Face's names in the Llama style, and how they
// lay them out. Data and text only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace frugal {

enum class WeightFormat : std::uint8_t { kHuggingFace, kGguf, kPeft };

// Before the names that modules have at Hugging Face.
inline constexpr std::string_view kPeftPrefix = "base_model.model.";

// Heads whose rows a file orders otherwise.
enum class RotaryRows : std::uint8_t { kAsHere, kQuery, kKey };

// One module ("#" is the layer); its .weight and .bias follow the same rule.
struct WeightRule {
  std::string_view ours, theirs;
  int part = 0, parts = 1;  // theirs holds so many of ours, equally high, one below the other
  bool transposed = false;  // matrices of theirs are [in, out]: parts are side by side
  // Here the rows of a head are first the first elements of all rotary pairs, then the second ones;
  // in theirs the two rows of a pair are neighbours.
  RotaryRows rotary = RotaryRows::kAsHere;
};

// In the order in which models are written: embedding, the modules of a layer, norm, head. Rules
// with the same theirs follow each other, by part. Empty: no such family.
// REQUIRES: not kPeft.
std::span<const WeightRule> weight_rules(WeightFormat format, std::string_view model_type);

// The rules whose theirs is this module: several where it holds several of ours, none if unknown.
std::span<const WeightRule> rules_of_theirs(std::span<const WeightRule> rules,
                                            std::string_view module);
const WeightRule* rule_of_ours(std::span<const WeightRule> rules, std::string_view module);

// "model.layers.3.mlp.up_proj.weight" -> {"model.layers.#.mlp.up_proj", 3, "weight"}.
struct WeightName {
  std::string module;
  int layer = -1;  // -1: of no layer
  std::string suffix;
};
// nullopt where the name does not end in .weight or .bias.
std::optional<WeightName> parse_weight_name(std::string_view name);
// The inverse, for another module of the same layer and suffix.
std::string weight_name(std::string_view module, const WeightName& like);

// A GGUF's factors of rotary frequencies.
inline constexpr std::string_view kRopeFactors = "rope_freqs.weight";

// What some files hold besides weights, and what follows from the config anyway.
bool is_no_weight(WeightFormat format, std::string_view name);

// How the rows of heads of theirs lie in ours: row r of theirs is row result of ours, and the other
// way round. rows: of all heads, a multiple of 2 * heads.
std::int64_t row_here(std::int64_t row, std::int64_t rows, std::int64_t heads);
std::int64_t row_there(std::int64_t row, std::int64_t rows, std::int64_t heads);

}  // namespace frugal
