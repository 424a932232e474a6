// PEFT's adapter_config.json into the lora section of a config that names it by lora.init_from.
#include <algorithm>
#include <array>
#include <utility>

#include "trainer/config/config.h"
#include "trainer/config/json_tree.h"
#include "trainer/config/schema.h"

namespace frugal {
namespace config {
namespace {

// PEFT's names and ours.
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kRead{
    {{"r", "rank"}, {"lora_alpha", "alpha"}, {"target_modules", "targets"}}};

// Of any value: where an adapter came from, how it was trained, and what other fields use.
constexpr std::array<std::string_view, 9> kWithoutEffect{
    "auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout", "megatron_core",
    "peft_version", "qalora_group_size",       "revision",       "task_type"};
// Beginnings that leave the base as it was.
constexpr std::array<std::string_view, 5> kPlainBeginnings{"true", "false", "gaussian",
                                                           "orthogonal", "eva"};

// Whether a field says that what it is about is not there.
bool neutral(const Node& value) {
  switch (value.kind) {
    case Node::Kind::kNull:
      return true;
    case Node::Kind::kScalar:
      return value.plain ? value.text == "false" : value.text.empty();
    case Node::Kind::kList:
      return value.items.empty();
    case Node::Kind::kMap:
      return value.entries.empty();
  }
  return false;
}

class AdapterAdoption {
 public:
  explicit AdapterAdoption(Config& config, const Source& source)
      : config_(config), source_(source) {}

  void run(const Node& root) {
    const Node* type = root.find("peft_type");
    if (type == nullptr || type->text != "LORA") {
      problems_.add(type == nullptr ? root.at : type->at,
                    "peft_type is " + (type == nullptr ? "missing" : quoted(type->text)) +
                        ": only adapters of the type LORA can be read");
      problems_.throw_if_any();
    }
    for (const auto& [theirs, ours] : kRead) {
      if (root.find(theirs) != nullptr) continue;
      problems_.add(root.at, "the field " + std::string(theirs) + " is missing");
    }
    for (const Entry& entry : root.entries) take(entry);
    problems_.throw_if_any();
  }

 private:
  void take(const Entry& entry) {
    const auto* read =
        std::ranges::find(kRead, entry.key, [](const auto& pair) { return pair.first; });
    if (read != kRead.end()) return set(std::string(read->second), entry);
    const std::string& key = entry.key;
    const auto is_in = [](const auto& list, const std::string& text) {
      return std::ranges::find(list, text) != list.end();
    };
    if (key == "peft_type" || is_in(kWithoutEffect, key) || neutral(entry.value) ||
        (key == "bias" && entry.value.text == "none") ||
        (key == "init_lora_weights" && is_in(kPlainBeginnings, entry.value.text))) {
      return;
    }
    problems_.add(entry.key_at, "the field " + quoted(key) +
                                    " changes what the adapters compute, and is not known here; "
                                    "merge the adapter with PEFT and begin with the whole model");
  }

  void set(const std::string& name, const Entry& entry) {
    const Key* key = find_key("lora", name);
    if (name == "targets" && entry.value.kind != Node::Kind::kList) {
      problems_.add(entry.key_at,
                    "target_modules is a pattern: a list of names such as q_proj can be read");
      return;
    }
    Config theirs;
    read_value(entry.value, key->full_name(), key->value(theirs), key->limits, problems_);
    order_targets(theirs.lora.targets);
    const std::string value = to_yaml(key->value(theirs));
    const auto origin = config_.origins.find(key->full_name());
    if (origin != config_.origins.end()) {
      Config ours = config_;
      order_targets(ours.lora.targets);
      const std::string here = to_yaml(key->value(ours));
      if (here == value) return;
      problems_.add(origin->second, key->full_name() + " is " + here + " here, but " + value +
                                        " in " + source_.name +
                                        ", whose adapters lora.init_from asks for; remove the key");
      return;
    }
    if (name == "rank") config_.lora.rank = theirs.lora.rank;
    if (name == "alpha") config_.lora.alpha = theirs.lora.alpha;
    if (name == "targets") config_.lora.targets = theirs.lora.targets;
    config_.origins.emplace(key->full_name(), describe(entry.value.at));
  }

  Config& config_;
  const Source& source_;
  Problems problems_;
};

}  // namespace

void order_targets(std::vector<std::string>& targets) {
  const auto& known = find_key("lora", "targets")->limits.choices;
  std::ranges::stable_sort(targets, {}, [&](const std::string& target) {
    return std::ranges::find(known, target) - known.begin();
  });
}

}  // namespace config

void adopt_adapter(Config& config, std::string_view json, const std::string& name) {
  const config::Source source{name, std::string(json), 0};
  config::AdapterAdoption(config, source).run(config::read_json(source));
}

}  // namespace frugal
