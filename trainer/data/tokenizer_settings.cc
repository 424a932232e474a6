#include "trainer/data/tokenizer_settings.h"

#include <algorithm>

#include "kernels/core/check.h"

namespace frugal {
namespace {

using nlohmann::json;

// type of an object with a type; refuses everything else.
std::string type_of(const JsonPlace& place, const std::string& readable) {
  const bool has_type =
      place.value.is_object() && place.value.contains("type") && place.value["type"].is_string();
  if (!has_type) place.refuse(readable);
  return place.value["type"].get<std::string>();
}

// Calls read on place itself, or on each element of it where it is a Sequence. `list` is the name
// of the elements; `plain` reads what is no Sequence.
template <class Read>
void for_each_step(const JsonPlace& place, const char* list, const std::string& readable,
                   const Read& read) {
  if (type_of(place, readable) != "Sequence") {
    read(place);
    return;
  }
  place.expect_object({"type", list});
  const JsonPlace steps = place[list];
  steps.expect_array();
  for (std::size_t i = 0; i < steps.value.size(); ++i) read(steps[i]);
}

void read_normalizer(const JsonPlace& place, TokenizerTables& tables) {
  const std::string readable = "null, NFC and Sequences of it can be read";
  if (place.value.is_null()) return;
  for_each_step(place, "normalizers", readable, [&](const JsonPlace& step) {
    if (type_of(step, readable) != "NFC") step.refuse(readable);
    step.expect_object({"type"});
    tables.nfc = true;
  });
}

void expect(const JsonPlace& place, const json& value) {
  if (place.value != value) place.refuse("only " + value.dump() + " can be read");
}

SplitPattern read_split(const JsonPlace& step) {
  step.expect_object({"type", "pattern", "behavior", "invert"});
  expect(step["behavior"], "Isolated");
  if (step["invert"].boolean_or(false)) step["invert"].refuse("only false can be read");
  const JsonPlace pattern = step["pattern"];
  pattern.expect_object({"Regex"});
  const JsonPlace regex = pattern["Regex"];
  if (regex.value.is_string()) {
    if (const auto known = pattern_of(regex.value.get_ref<const std::string&>())) return *known;
  }
  regex.refuse(
      "the patterns of GPT-2, Llama 3, Qwen2 and 3, DeepSeek-V3, R1 and Coder can be read");
}

void read_byte_level(const JsonPlace& step, TokenizerTables& tables) {
  step.expect_object({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  const JsonPlace prefix = step["add_prefix_space"];
  if (prefix.boolean_or(true)) prefix.refuse("only false can be read");
  if (step["use_regex"].boolean_or(true)) tables.steps.push_back(SplitPattern::kGpt2);
}

void read_pre_tokenizer(const JsonPlace& place, TokenizerTables& tables) {
  const std::string readable = "ByteLevel, Split, Digits and Sequences of them can be read";
  bool byte_level = false;
  tables.steps.clear();
  for_each_step(place, "pretokenizers", readable, [&](const JsonPlace& step) {
    const std::string type = type_of(step, readable);
    if (byte_level) step.refuse("nothing can be read after ByteLevel");
    if (type == "ByteLevel") {
      byte_level = true;
      read_byte_level(step, tables);
    } else if (type == "Split") {
      tables.steps.push_back(read_split(step));
    } else if (type == "Digits") {
      step.expect_object({"type", "individual_digits"});
      const JsonPlace single = step["individual_digits"];
      if (!single.boolean_or(false)) single.refuse("only true can be read");
      tables.steps.push_back(SplitPattern::kDigit);
    } else {
      step.refuse(readable);
    }
  });
  const bool known = std::ranges::any_of(tokenizer_families(), [&](const TokenizerFamily& family) {
    return family.steps == tables.steps;
  });
  if (!byte_level || !known) {
    place.refuse(
        "the steps of GPT-2, Llama 3, Qwen2 and 3, DeepSeek-V3, R1 and Coder and SmolLM2 "
        "can be read, ByteLevel last");
  }
}

// Special tokens in front of the text: one or none.
void read_template(const JsonPlace& place, TokenizerTables& tables) {
  place.expect_object({"type", "single", "pair", "special_tokens"});
  const JsonPlace single = place["single"];
  single.expect_array();
  const std::string readable =
      "a template with the text and at most one special token in front of it can be read";
  const std::size_t size = single.value.size();
  if (size < 1 || size > 2 || !single.value[size - 1].is_object() ||
      !single.value[size - 1].contains("Sequence")) {
    single.refuse(readable);
  }
  if (size == 1) return;
  const auto content = single.value[0].value(json::json_pointer("/SpecialToken/id"), json());
  const auto found = std::ranges::find_if(tables.added, [&](const AddedToken& token) {
    return content.is_string() && token.content == content.get_ref<const std::string&>();
  });
  if (found == tables.added.end()) single.refuse(readable + ", one of added_tokens");
  tables.begin_of_text = found->id;
}

void read_post_processor(const JsonPlace& place, TokenizerTables& tables) {
  const std::string readable = "null, ByteLevel, TemplateProcessing and Sequences can be read";
  if (place.value.is_null()) return;
  for_each_step(place, "processors", readable, [&](const JsonPlace& step) {
    const std::string type = type_of(step, readable);
    if (type == "TemplateProcessing") {
      read_template(step, tables);
    } else if (type != "ByteLevel") {  // which changes offsets, not ids
      step.refuse(readable);
    }
  });
}

void read_decoder(const JsonPlace& place) {
  const std::string readable = "null, ByteLevel and Sequences of it can be read";
  if (place.value.is_null()) return;
  for_each_step(place, "decoders", readable, [&](const JsonPlace& step) {
    if (type_of(step, readable) != "ByteLevel") step.refuse(readable);
  });
}

void read_model(const JsonPlace& place, TokenizerTables& tables) {
  place.expect_object({"type", "dropout", "unk_token", "continuing_subword_prefix",
                       "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab",
                       "merges"});
  const auto is_default = [&](const char* key, const json& other) {
    const JsonPlace member = place[key];
    if (!member.value.is_null() && member.value != other) {
      member.refuse("only null and " + other.dump() + " can be read");
    }
  };
  is_default("type", "BPE");
  is_default("dropout", 0);
  is_default("unk_token", "");
  is_default("continuing_subword_prefix", "");
  is_default("end_of_word_suffix", "");
  is_default("byte_fallback", false);
  place["fuse_unk"].boolean_or(false);  // of no effect: every byte has a token
  tables.ignore_merges = place["ignore_merges"].boolean_or(false);
}

std::string json_string(std::string_view text) {
  return json(text).dump();
}

std::string step_json(SplitPattern step) {
  if (step == SplitPattern::kDigit) return R"({"type": "Digits", "individual_digits": true})";
  return concat(R"({"type": "Split", "pattern": {"Regex": )", json_string(regex_of(step)),
                R"(}, "behavior": "Isolated", "invert": false})");
}

std::string byte_level_json(bool use_regex) {
  return concat(
      R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": )",
      use_regex ? "true}" : "false}");
}

}  // namespace

void JsonPlace::refuse(const std::string& readable) const {
  std::string shown = value.dump(-1, ' ', true, json::error_handler_t::replace);
  constexpr std::size_t kShown = 200;
  if (shown.size() > kShown) shown = shown.substr(0, kShown) + "...";
  fail(ErrorKind::kData, file, ": ", where, " is ", shown, "; ", readable);
}

JsonPlace JsonPlace::operator[](const std::string& key) const {
  static const json missing;
  const auto found = value.find(key);
  return {found == value.end() ? missing : *found, where + "/" + key, file};
}

JsonPlace JsonPlace::operator[](std::size_t index) const {
  return {value[index], concat(where, "/", index), file};
}

void JsonPlace::expect_object(std::initializer_list<const char*> members) const {
  if (!value.is_object()) refuse("an object is expected");
  for (const auto& [key, unused] : value.items()) {
    if (std::ranges::find(members, key) == members.end()) {
      (*this)[key].refuse("this setting is not known");
    }
  }
}

void JsonPlace::expect_array() const {
  if (!value.is_array()) refuse("a list is expected");
}

bool JsonPlace::boolean_or(bool missing) const {
  if (value.is_null()) return missing;
  if (!value.is_boolean()) refuse("true or false is expected");
  return value.get<bool>();
}

const std::vector<TokenizerFamily>& tokenizer_families() {
  using enum SplitPattern;
  static const std::vector<TokenizerFamily> known = {
      {"gpt-2", {kGpt2}},
      {"smollm", {kDigit, kGpt2}},
      {"llama-bpe", {kLlama3}, false, true},
      {"qwen2", {kQwen2}, true},
      {"deepseek-r1-qwen", {kQwen2}, true},
      {"deepseek-v3", {kThreeDigits, kDeepSeekCjk, kDeepSeekWords}},
      {"deepseek-coder", {kCoderNewline, kCoderLetters, kCoderPunctuation, kCoderCjk, kDigit}},
  };
  return known;
}

void read_tokenizer_settings(const JsonPlace& root, TokenizerTables& tables) {
  root.expect_object({"version", "truncation", "padding", "added_tokens", "normalizer",
                      "pre_tokenizer", "post_processor", "decoder", "model"});
  expect(root["version"], "1.0");
  expect(root["truncation"], nullptr);
  expect(root["padding"], nullptr);
  read_normalizer(root["normalizer"], tables);
  read_pre_tokenizer(root["pre_tokenizer"], tables);
  read_post_processor(root["post_processor"], tables);
  read_decoder(root["decoder"]);
  read_model(root["model"], tables);
}

std::string normalizer_json(const TokenizerTables& tables) {
  return tables.nfc ? R"({"type": "NFC"})" : "null";
}

std::string pre_tokenizer_json(const TokenizerTables& tables) {
  std::vector<SplitPattern> steps = tables.steps;
  const bool use_regex = !steps.empty() && steps.back() == SplitPattern::kGpt2;
  if (use_regex) steps.pop_back();
  if (steps.empty()) return byte_level_json(use_regex);
  std::string out = R"({"type": "Sequence", "pretokenizers": [)";
  for (const SplitPattern step : steps) out += step_json(step) + ", ";
  return out + byte_level_json(use_regex) + "]}";
}

std::string post_processor_json(const TokenizerTables& tables) {
  if (!tables.begin_of_text) return "null";
  const std::int32_t id = *tables.begin_of_text;
  const std::string name = json_string(tables.tokens[static_cast<std::size_t>(id)]);
  const std::string token = concat(R"({"SpecialToken": {"id": )", name, R"(, "type_id": )");
  return concat(R"({"type": "TemplateProcessing", "single": [)", token,
                R"(0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [)", token,
                R"(0}}, {"Sequence": {"id": "A", "type_id": 0}}, )", token,
                R"(1}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {)", name,
                R"(: {"id": )", name, R"(, "ids": [)", id, R"(], "tokens": [)", name, "]}}}");
}

}  // namespace frugal
