#include "trainer/checkpoint/tokenizer_folder.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "kernels/core/check.h"
#include "trainer/checkpoint/format.h"
#include "trainer/checkpoint/json_text.h"

namespace frugal {
namespace {

using nlohmann::json;

constexpr std::string_view kTokenizer = "tokenizer.json", kSettings = "tokenizer_config.json";
constexpr std::array<std::string_view, 2> kOthers = {"special_tokens_map.json",
                                                     "chat_template.jinja"};
constexpr JsonLimits kLimits = {.depth = 32, .values = 1 << 24};

// Ways to split a text into words that have a name in GGUF: what stands before the byte-level step,
// and whether that step splits too.
struct NamedSplit {
  std::string_view name;
  std::string_view pattern;  // of a Split; "digits": every digit alone; empty: nothing
  bool byte_level_splits;
};
constexpr std::array kSplits = {
    NamedSplit{"gpt-2", "", true},
    NamedSplit{"smollm", "digits", true},
    NamedSplit{
        "llama-bpe",
        R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
        false},
    NamedSplit{
        "qwen2",
        R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re",
        false},
};

constexpr std::int64_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;

// The member, or null.
const json& at(const json& object, const char* name) {
  static const json null;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? null : *found;
}

bool is(const json& object, const char* name, const json& value) {
  return at(object, name) == value;
}

// An id, or several.
bool is_ids(const json& value) {
  const auto whole = [](const json& id) { return id.is_number_unsigned(); };
  return whole(value) || (value.is_array() && !value.empty() && std::ranges::all_of(value, whole));
}

std::optional<std::string> pattern_of(const json& step) {
  if (is(step, "type", "Digits") && is(step, "individual_digits", true)) return "digits";
  const json& pattern = at(at(step, "pattern"), "Regex");
  const bool plain = is(step, "type", "Split") && is(step, "behavior", "Isolated") &&
                     is(step, "invert", false) && pattern.is_string();
  return plain ? std::optional(pattern.get<std::string>()) : std::nullopt;
}

// "left right" each; files have pairs, older ones texts.
GgufValue::Texts merges_of(const json& model, const std::string& where) {
  GgufValue::Texts merges;
  for (const json& merge : at(model, "merges")) {
    const bool pair =
        merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
    if (!pair && !merge.is_string()) fail(ErrorKind::kData, where, ": a merge is not two texts");
    merges.push_back(pair ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                          : merge.get<std::string>());
  }
  return merges;
}

}  // namespace

TokenizerFolder::TokenizerFolder(std::string path, Files given)
    : path_(std::move(path)), given_(std::move(given)) {
  auto text = read(std::string(kTokenizer));
  if (!text) {
    fail(ErrorKind::kData, path_, ": holds no ", kTokenizer,
         "; it is the run's tokenizer.path: start this command where the run was started");
  }
  text_ = std::move(*text);
  tokenizer_ = parse_json_object(text_, concat(path_, "/", kTokenizer), kLimits);
  settings_ = json::object();
  if (const auto settings = read(std::string(kSettings))) {
    settings_ = parse_json_object(*settings, concat(path_, "/", kSettings), kLimits);
  }
  find_ids();
}

std::optional<std::string> TokenizerFolder::read(const std::string& name) const {
  if (!given_.empty()) {
    const auto found = std::ranges::find(given_, name, &Files::value_type::first);
    return found == given_.end() ? std::nullopt : std::optional(found->second);
  }
  const std::string path = path_ + "/" + name;
  std::error_code unknown;
  if (!std::filesystem::exists(path, unknown)) return std::nullopt;
  return read_small_file(path, kMaxTokenizerBytes, Links::kFollowed);
}

// The id of an added token: its text, or an object with it. Null where there is none.
json TokenizerFolder::id_of(const json& token) const {
  const json& text = token.is_object() ? at(token, "content") : token;
  for (const json& added : at(tokenizer_, "added_tokens")) {
    if (text.is_string() && is(added, "content", text)) return at(added, "id");
  }
  return nullptr;
}

void TokenizerFolder::find_ids() {
  for (const std::string name : {"generation_config.json", "config.json"}) {
    const auto text = read(name);
    if (!text) continue;
    const std::string where = path_ + "/" + name;
    const json config = parse_json_object(*text, where, kLimits);
    for (const auto& [key, id] : {std::pair{"bos_token_id", &bos_}, {"eos_token_id", &eos_}}) {
      const json& said = at(config, key);
      if (!said.is_null() && !is_ids(said)) {
        fail(ErrorKind::kData, where, ": ", key, " is ", said.dump(-1, ' ', true),
             ", expected an id or a list of ids");
      }
      if (id->is_null()) *id = said;
    }
  }
  for (const auto& [key, id] : {std::pair{"bos_token", &bos_}, {"eos_token", &eos_}}) {
    if (id->is_null()) *id = id_of(at(settings_, key));
    if (id->is_null()) *id = id_of("<|endoftext|>");
  }
}

TokenizerFolder::Files TokenizerFolder::files(int max_position_embeddings) const {
  Files files{{std::string(kTokenizer), text_}};
  for (const std::string_view name : kOthers) {
    if (auto content = read(std::string(name))) files.emplace_back(name, std::move(*content));
  }
  if (auto settings = read(std::string(kSettings))) {
    files.emplace_back(kSettings, std::move(*settings));
    return files;
  }
  json settings{{"tokenizer_class", "PreTrainedTokenizerFast"},
                {"clean_up_tokenization_spaces", false},
                {"model_max_length", max_position_embeddings}};
  for (const json& added : at(tokenizer_, "added_tokens")) {
    if (is(added, "id", bos_)) settings["bos_token"] = at(added, "content");
    if (is(added, "id", eos_)) settings["eos_token"] = at(added, "content");
  }
  files.emplace_back(kSettings, settings.dump(2) + "\n");
  return files;
}

// Whether the tokenizer puts the first token before texts of its own accord.
bool TokenizerFolder::adds_bos() const {
  if (at(settings_, "add_bos_token").is_boolean()) return settings_["add_bos_token"];
  const json& whole = at(tokenizer_, "post_processor");
  const json steps = is(whole, "type", "Sequence") ? at(whole, "processors") : json::array({whole});
  for (const json& step : steps) {
    const json& single = at(step, "single");
    if (is(step, "type", "TemplateProcessing") && single.is_array() && !single.empty()) {
      return single[0].is_object() && single[0].contains("SpecialToken");
    }
  }
  return false;
}

std::string TokenizerFolder::pre_tokenizer() const {
  const json& whole = at(tokenizer_, "pre_tokenizer");
  const json steps =
      is(whole, "type", "Sequence") ? at(whole, "pretokenizers") : json::array({whole});
  const json last = steps.is_array() && !steps.empty() ? steps.back() : json();
  if (is(last, "type", "ByteLevel") && is(last, "add_prefix_space", false) && steps.size() <= 2) {
    const auto pattern = steps.size() == 2 ? pattern_of(steps[0]) : std::optional<std::string>("");
    const bool splits = !is(last, "use_regex", false);
    for (const NamedSplit& split : kSplits) {
      if (pattern == split.pattern && splits == split.byte_level_splits) {
        return std::string(split.name);
      }
    }
  }
  fail(ErrorKind::kData, path_, "/", kTokenizer,
       ": its pre_tokenizer has no name in GGUF; those of GPT-2, SmolLM, Llama 3 and Qwen 2 have");
}

GgufMetadata TokenizerFolder::gguf(std::int64_t vocab_size) const {
  const std::string where = concat(path_, "/", kTokenizer);
  const json& model = at(tokenizer_, "model");
  if (!is(model, "type", "BPE") || is(model, "byte_fallback", true)) {
    fail(ErrorKind::kData, where, ": is not a byte-level BPE, which is what GGUF is written with");
  }
  const std::string pre = pre_tokenizer();
  GgufValue::Texts tokens(static_cast<std::size_t>(vocab_size));
  GgufValue::Integers types(tokens.size(), kUnused);
  const auto set = [&](const json& id, const std::string& text, std::int64_t type) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= tokens.size()) {
      fail(ErrorKind::kData, where, ": the id ", id.dump(), " is none of the model's ", vocab_size);
    }
    tokens[id.get<std::size_t>()] = text;
    types[id.get<std::size_t>()] = type;
  };
  for (const auto& [token, id] : at(model, "vocab").items()) set(id, token, kNormal);
  for (const json& added : at(tokenizer_, "added_tokens")) {
    const json& content = at(added, "content");
    set(at(added, "id"), content.is_string() ? content.get<std::string>() : "",
        is(added, "special", true) ? kControl : kUserDefined);
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (types[i] == kUnused) tokens[i] = concat("[PAD", i, "]");
  }
  GgufMetadata out{{"tokenizer.ggml.model", GgufValue::text("gpt2")},
                   {"tokenizer.ggml.pre", GgufValue::text(pre)},
                   {"tokenizer.ggml.tokens", GgufValue::texts(std::move(tokens))},
                   {"tokenizer.ggml.token_type", GgufValue::i32s(std::move(types))},
                   {"tokenizer.ggml.merges", GgufValue::texts(merges_of(model, where))}};
  for (const auto& [key, ids] : {std::pair{"bos", &bos_}, {"eos", &eos_}}) {
    const json& id = ids->is_array() && !ids->empty() ? ids->front() : *ids;
    if (!id.is_number_unsigned()) continue;
    out.emplace_back(concat("tokenizer.ggml.", key, "_token_id"), GgufValue::u32(id));
  }
  out.emplace_back("tokenizer.ggml.add_bos_token", GgufValue::boolean(adds_bos()));
  const json& chat = at(settings_, "chat_template");
  const auto file = read("chat_template.jinja");
  if (file || chat.is_string()) {
    out.emplace_back("tokenizer.chat_template",
                     GgufValue::text(file ? *file : chat.get<std::string>()));
  }
  return out;
}

}  // namespace frugal
