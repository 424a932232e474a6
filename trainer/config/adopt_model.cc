// A config.json into the model section of a config that names it by model.init_from.
#include <algorithm>
#include <array>

#include "trainer/config/config.h"
#include "trainer/config/hugging_face.h"
#include "trainer/config/json_tree.h"
#include "trainer/config/schema.h"

namespace frugal {
namespace config {
namespace {

// What a longer context or other new weights need, and no tensor's shape depends on (but gpt2's
// positions, whose table says so itself): the user's word counts.
constexpr std::array<std::string_view, 9> kFree{"init_from",
                                                "initializer_range",
                                                "max_position_embeddings",
                                                "rope_theta",
                                                "rope_type",
                                                "rope_factor",
                                                "rope_low_freq_factor",
                                                "rope_high_freq_factor",
                                                "rope_original_max_position_embeddings"};
// Programs differ in what they take for these where a config.json is silent.
constexpr std::array<std::string_view, 4> kNeeded{"hidden_size", "num_hidden_layers",
                                                  "num_attention_heads", "vocab_size"};
constexpr std::array<std::string_view, 3> kNeededButGpt2{"intermediate_size", "rms_norm_eps",
                                                         "max_position_embeddings"};

// Ours alone: in a config.json they would say something else, or nothing.
constexpr std::array<std::string_view, 6> kOursAlone{"init_from",
                                                     "rope_type",
                                                     "rope_factor",
                                                     "rope_low_freq_factor",
                                                     "rope_high_freq_factor",
                                                     "rope_original_max_position_embeddings"};

class Adoption {
 public:
  Adoption(Config& config, const Source& source) : config_(config), source_(source) {}

  void run(Node root) {
    const Node* type = root.find("model_type");
    const std::string model_type = type == nullptr ? "" : type->text;
    const Key* key = find_key("model", "model_type");
    if (std::ranges::find(key->limits.choices, model_type) == key->limits.choices.end()) {
      std::string known;
      for (const auto choice : key->limits.choices) {
        known += (known.empty() ? "" : ", ") + std::string(choice);
      }
      problems_.add(type == nullptr ? root.at : type->at,
                    "model_type is " + (type == nullptr ? "missing" : config::quoted(model_type)) +
                        ": only models of the families " + known + " can be read");
      problems_.throw_if_any();
    }
    std::erase_if(root.entries, [&](const Entry& entry) {
      const bool ours = std::ranges::find(kOursAlone, entry.key) != kOursAlone.end();
      if (ours) refuse_unknown(entry);
      return ours;
    });
    const auto entries = translate_model(root, model_type, problems_);
    for (const Entry& entry : entries) take(entry);
    const auto need = [&](std::string_view name) {
      if (std::ranges::find(entries, name, &Entry::key) != entries.end()) return;
      problems_.add(root.at, "model." + std::string(name) + " is not said there");
    };
    std::ranges::for_each(kNeeded, need);
    if (model_type != "gpt2") std::ranges::for_each(kNeededButGpt2, need);
    complete_family(config_, problems_);
    problems_.throw_if_any();
  }

 private:
  void refuse_unknown(const Entry& entry) {
    problems_.add(entry.key_at, "the field " + config::quoted(entry.key) +
                                    " is not known here: it may change what the model computes");
  }

  void take(const Entry& entry) {
    const Key* key = find_key("model", entry.key);
    if (key == nullptr) return refuse_unknown(entry);
    Config theirs;
    const std::string name = key->full_name();
    read_value(entry.value, name, key->value(theirs), key->limits, problems_);
    const std::string value = to_yaml(key->value(theirs));
    const auto origin = config_.origins.find(name);
    if (origin == config_.origins.end()) {
      read_value(entry.value, name, key->value(config_), key->limits, unheard_);
      config_.origins.emplace(name, describe(entry.value.at));
      return;
    }
    const bool free = std::ranges::find(kFree, entry.key) != kFree.end();
    if (free || to_yaml(key->value(config_)) == value) return;
    problems_.add(origin->second, name + " is " + to_yaml(key->value(config_)) + " here, but " +
                                      value + " in " + source_.name +
                                      ", whose weights model.init_from asks for; remove the key");
  }

  Config& config_;
  const Source& source_;
  Problems problems_, unheard_;  // unheard: said already
};

}  // namespace
}  // namespace config

void adopt_model(Config& config, std::string_view text, const std::string& name) {
  const config::Source source{name, std::string(text), 0};
  config::Adoption(config, source).run(config::read_json(source));
}

}  // namespace frugal
