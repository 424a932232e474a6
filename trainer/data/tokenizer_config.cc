#include "trainer/data/tokenizer_config.h"

#include <algorithm>
#include <filesystem>

#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "trainer/data/files.h"

namespace frugal {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxConfigBytes = std::size_t{16} << 20;

// An object, empty if the file is not there.
json read_config(const std::string& path) {
  if (!std::filesystem::exists(path)) return json::object();
  const MappedFile file(path);
  if (file.text().size() > kMaxConfigBytes) {
    fail(ErrorKind::kData, path, ": ", file.text().size(), " bytes; up to ", kMaxConfigBytes,
         " can be read");
  }
  constexpr int kMaxDepth = 64;
  const auto shallow = [&](int depth, json::parse_event_t, const json&) {
    if (depth > kMaxDepth) fail(ErrorKind::kData, path, ": nested too deeply");
    return true;
  };
  json config = json::parse(file.text(), shallow, false);
  if (!config.is_object()) fail(ErrorKind::kData, path, ": not a JSON object");
  return config;
}

class FolderReader {
 public:
  FolderReader(std::string dir, const TokenizerTables& tables)
      : dir_(std::move(dir)), tables_(tables) {}

  FolderTokens read() {
    const std::string path = file("tokenizer_config.json");
    const json config = read_config(path);
    if (const auto end = named(config, "eos_token", path)) add(*end);
    if (config.value("add_bos_token", json()) == true) {
      found_.begin_of_text = named(config, "bos_token", path);
    }
    if (!add_ids("generation_config.json")) add_ids("config.json");
    return std::move(found_);
  }

 private:
  std::string file(const char* name) const { return (std::filesystem::path(dir_) / name).string(); }

  // A token by its content: a text, or an object that has it.
  std::optional<std::int32_t> named(const json& config, const char* key, const std::string& path) {
    json name = config.value(key, json());
    if (name.is_object()) name = name.value("content", json());
    if (name.is_null()) return std::nullopt;
    const auto token = std::ranges::find_if(tables_.added, [&](const AddedToken& added) {
      return name.is_string() && added.content == name.get_ref<const std::string&>();
    });
    if (token == tables_.added.end()) {
      fail(ErrorKind::kData, path, ": ", key, " is ", name.dump(-1, ' ', true),
           ", which is not among the added_tokens of tokenizer.json");
    }
    return token->id;
  }

  // eos_token_id: a number, or a list of them. False where the file says none.
  bool add_ids(const char* name) {
    const std::string path = file(name);
    json ids = read_config(path).value("eos_token_id", json());
    if (ids.is_null()) return false;
    if (!ids.is_array()) ids = json::array({ids});
    for (const json& id : ids) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= tables_.tokens.size()) {
        fail(ErrorKind::kData, path, ": eos_token_id is ", id.dump(-1, ' ', true),
             ", but tokenizer.json has ids 0 to ", tables_.tokens.size() - 1);
      }
      add(id.get<std::int32_t>());
    }
    return true;
  }

  void add(std::int32_t id) {
    const auto place = std::ranges::lower_bound(found_.ends, id);
    if (place == found_.ends.end() || *place != id) found_.ends.insert(place, id);
  }

  std::string dir_;
  const TokenizerTables& tables_;
  FolderTokens found_;
};

}  // namespace

FolderTokens read_folder_tokens(const std::string& dir, const TokenizerTables& tables) {
  return FolderReader(dir, tables).read();
}

}  // namespace frugal
