// From a Config back to YAML, and from the table of keys to the reference page.
#include <algorithm>

#include "trainer/config/config.h"
#include "trainer/config/hugging_face.h"
#include "trainer/config/schema.h"

namespace frugal {
namespace config {
namespace {

// Bars would end a cell.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? "\\|" : std::string(1, c);
  return out;
}

template <class Owner>
std::string row(const KeyOf<Owner>& key, Owner& defaults) {
  const Value value = key.value(defaults);
  const std::string preset = to_yaml(value);
  return "| `" + std::string(key.name) + "` | " + cell(expectation(value, key.limits)) + " | " +
         (preset == "\"\"" ? "" : "`" + preset + "`") + " | " + cell(key.text) + " |\n";
}

std::string heading(std::string_view section) {
  constexpr std::string_view kColumns = "| key | value | default | meaning |\n|---|---|---|---|\n";
  std::string out = "\n## ";
  if (section.empty()) return out + "Top level\n\n" + std::string(kColumns);
  return out + std::string(section) + "\n\n" + std::string(section_text(section)) + "\n\n" +
         std::string(kColumns);
}

std::string source_section() {
  std::string out =
      "\nEach source in `train` and `validation` is a map:\n\n"
      "| key | value | default | meaning |\n|---|---|---|---|\n";
  DataSourceConfig defaults;
  for (const SourceKey& key : source_keys()) out += row(key, defaults);
  return out;
}

std::string model_section() {
  std::string out =
      "\nA `config.json` of Hugging Face can be pasted here. For `model_type: gpt2` its own names "
      "are read:";
  std::string separator = " ";
  for (const Rename& rename : gpt2_names()) {
    out +=
        separator + "`" + std::string(rename.theirs) + "` for `" + std::string(rename.ours) + "`";
    separator = ", ";
  }
  out +=
      ". `rope_scaling` and `rope_parameters` are read into the `rope_` keys. Accepted without "
      "effect:";
  separator = " ";
  for (const auto field : fields_without_effect()) {
    out += separator + "`" + std::string(field) + "`";
    separator = ", ";
  }
  return out +
         ". So are fields of dropout: models here are trained and run without it. Fields that "
         "would change the mathematics (other scalings of rotary positions, sliding windows, other "
         "activations, experts) are refused with the reason.\n";
}

constexpr std::string_view kPreface =
    R"(# Configs and their keys

Every file here is one complete run. This page is generated from the table in `trainer/config/schema.cc`;
`frugal config reference > configs/README.md` writes it anew.

| file | run |
|---|---|
| `debug.yaml` | seconds, one process, no GPU: does everything work? |
| `kjv-llama.yaml` | minutes, four ranks on a laptop: a small Llama learns the King James Bible |
| `gpt2-124m.yaml` | GPT-2 small on 10 billion tokens, data-parallel |
| `smollm2-kjv.yaml` | minutes on a laptop: SmolLM2-135M, a real pretrained model, fine-tuned on the King James Bible |
| `llama-1b.yaml` | a Llama of 1.2 billion parameters on eight cards of 24 GiB |

`frugal train configs/debug.yaml train.steps=50` changes one key: `section.key=value`, the value in YAML, lists as
`[a, b]`. A missing key has its default. An unknown, repeated, misspelt, mistyped or impossible value stops the run
before it starts; all of them are reported at once, with their place. `auto` is decided when the run starts, and the
run folder's `config.yaml` has every value as it was used.

Booleans are `true` and `false`. Anchors, aliases, merge keys, tags and tabs are refused. Sizes of batches are in
sequences, intervals in updates.
)";

}  // namespace
}  // namespace config

std::string dump_config(const Config& config) {
  Config copy = config;  // the table points into a mutable one
  std::string out;
  std::string_view section;
  for (const config::Key& key : config::keys()) {
    if (key.section != section) {
      section = key.section;
      if (!section.empty()) out += std::string(section) + ":\n";
    }
    out += (section.empty() ? "" : "  ") + std::string(key.name) + ": " +
           config::to_yaml(key.value(copy)) + "\n";
  }
  return out;
}

std::string config_reference_markdown() {
  Config defaults;
  std::string out(config::kPreface);
  const config::Key* previous = nullptr;
  const auto close_section = [&] {
    if (previous == nullptr) return;
    if (previous->section == "data") out += config::source_section();
    if (previous->section == "model") out += config::model_section();
  };
  for (const config::Key& key : config::keys()) {
    if (previous == nullptr || previous->section != key.section) {
      close_section();
      out += config::heading(key.section);
    }
    out += config::row(key, defaults);
    previous = &key;
  }
  close_section();
  return out;
}

}  // namespace frugal
