#include "trainer/checkpoint/safetensors_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <map>
#include <span>
#include <tuple>
#include <utility>

#include "kernels/core/check.h"
#include "trainer/checkpoint/format.h"
#include "trainer/checkpoint/json_text.h"

namespace frugal {
namespace {

using nlohmann::json;

constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::size_t kMaxFileNameBytes = 255;

struct StoredType {
  std::string_view name;
  std::int64_t bytes;
};
constexpr std::array kTypes = {
    StoredType{"BOOL", 1},    StoredType{"U8", 1},  StoredType{"I8", 1},
    StoredType{"F8_E4M3", 1}, StoredType{"I16", 2}, StoredType{"F8_E5M2", 1},
    StoredType{"F8_E8M0", 1}, StoredType{"U16", 2}, StoredType{"F16", 2},
    StoredType{"BF16", 2},    StoredType{"I32", 4}, StoredType{"U32", 4},
    StoredType{"F32", 4},     StoredType{"F64", 8}, StoredType{"I64", 8},
    StoredType{"U64", 8},
};

std::optional<ElementType> element_of(std::string_view type) {
  for (const ElementType element : {ElementType::kF32, ElementType::kF16, ElementType::kBF16}) {
    if (layout_of(element).name == type) return element;
  }
  return std::nullopt;
}

// The numbers of an array; nullopt where it is none, or holds more than `most` or others than whole
// ones from 0 on.
std::optional<std::vector<std::int64_t>> numbers_of(const json& value, std::size_t most) {
  if (!value.is_array() || value.size() > most) return std::nullopt;
  std::vector<std::int64_t> numbers;
  for (const json& item : value) {
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
    numbers.push_back(item.get<std::int64_t>());
  }
  return numbers;
}

class HeaderParser {
 public:
  HeaderParser(std::int64_t data_bytes, const std::string& where)
      : data_bytes_(data_bytes), where_(where) {}

  void add(const std::string& name, const json& value) {
    if (name == "__metadata__") return check_metadata(value);
    if (!valid_foreign_name(name)) {
      fail(ErrorKind::kData, where_, ": a tensor has an invalid name (printable ASCII, at most ",
           kMaxForeignNameBytes, " bytes)");
    }
    if (tensors_.size() == kMaxForeignTensors) {
      fail(ErrorKind::kData, where_, ": more than ", kMaxForeignTensors, " tensors");
    }
    tensors_.push_back(parse(name, value));
  }

  std::vector<ForeignTensor> finish() {
    std::sort(tensors_.begin(), tensors_.end(), [](const auto& a, const auto& b) {
      return std::tie(a.position, a.bytes) < std::tie(b.position, b.bytes);
    });
    std::int64_t end = 0;
    for (const ForeignTensor& tensor : tensors_) {
      if (tensor.position != end) {
        refuse(tensor.name, concat("begins at byte ", tensor.position, " of the data, expected ",
                                   end, ": tensors overlap or leave a gap"));
      }
      end += tensor.bytes;
    }
    if (end > data_bytes_) {
      fail(ErrorKind::kData, where_, ": is cut short: it has ", data_bytes_,
           " bytes of data, its header describes ", end, "; bring the whole file again");
    }
    if (end < data_bytes_) {
      fail(ErrorKind::kData, where_, ": has ", data_bytes_, " bytes of data, its header describes ",
           end, "; bring the whole file again");
    }
    return std::move(tensors_);
  }

 private:
  [[noreturn]] void refuse(const std::string& name, std::string_view why) const {
    fail(ErrorKind::kData, where_, ": tensor ", name, " ", why);
  }

  void check_metadata(const json& value) const {
    const bool texts =
        value.is_object() &&
        std::all_of(value.begin(), value.end(), [](const json& text) { return text.is_string(); });
    if (!texts) fail(ErrorKind::kData, where_, ": __metadata__ is not an object of texts");
  }

  ForeignTensor parse(const std::string& name, const json& value) const {
    const bool complete = value.is_object() && value.size() == 3 && value.contains("dtype") &&
                          value.contains("shape") && value.contains("data_offsets") &&
                          value["dtype"].is_string();
    if (!complete) refuse(name, "has not exactly dtype, shape and data_offsets");
    const auto& type = value["dtype"].get_ref<const std::string&>();
    const auto* known = std::ranges::find(kTypes, type, &StoredType::name);
    if (known == kTypes.end()) refuse(name, "has an unknown dtype");
    const auto shape = numbers_of(value["shape"], kMaxSafetensorsRank);
    if (!shape) {
      refuse(name, concat("has no shape of at most ", kMaxSafetensorsRank, " sizes from 0 on"));
    }
    const auto offsets = numbers_of(value["data_offsets"], 2);
    if (!offsets || offsets->size() != 2 || (*offsets)[0] > (*offsets)[1]) {
      refuse(name, "has data_offsets that are not two positions, the first not behind the second");
    }
    const std::int64_t bytes = (*offsets)[1] - (*offsets)[0];
    const auto elements = elements_of(*shape);
    if (!elements || *elements * known->bytes != bytes) {
      refuse(name, concat("has ", bytes, " bytes, which its shape and ", type, " do not need"));
    }
    return {.name = name,
            .type = type,
            .element = element_of(type),
            .shape = *shape,
            .position = (*offsets)[0],
            .bytes = bytes};
  }

  const std::int64_t data_bytes_;
  const std::string& where_;
  std::vector<ForeignTensor> tensors_;
};

// A name that is a file of this folder wherever it is put behind a slash.
bool is_plain_name(const std::string& name) {
  return name.size() <= kMaxFileNameBytes && valid_foreign_name(name) && name != "." &&
         name != ".." && name.find('/') == std::string::npos;
}

bool exists(const std::string& path) {
  std::error_code unknown;
  return std::filesystem::exists(std::filesystem::symlink_status(path, unknown));
}

// Opens a file and moves its tensors to `out`.
void add_file(ForeignFiles& out, std::string path) {
  auto file = std::make_unique<StoredFile>(path, Links::kFollowed);
  for (ForeignTensor& tensor : read_safetensors(*file, path)) {
    tensor.file = static_cast<int>(out.files.size());
    out.tensors.push_back(std::move(tensor));
  }
  out.files.push_back({std::move(path), std::move(file)});
}

void check_shard(const ShardNames& shard, std::span<const ForeignTensor> tensors,
                 const std::string& index) {
  std::vector<std::string> held;
  for (const ForeignTensor& tensor : tensors) held.push_back(tensor.name);
  std::sort(held.begin(), held.end());
  const auto differ = std::ranges::mismatch(shard.tensors, held);
  const bool listed = differ.in1 != shard.tensors.end();
  if (listed && (differ.in2 == held.end() || *differ.in1 < *differ.in2)) {
    fail(ErrorKind::kData, index, ": tensor ", *differ.in1, " is not in ", shard.file);
  }
  if (differ.in2 != held.end()) {
    fail(ErrorKind::kData, index, ": ", shard.file, " also holds tensor ", *differ.in2,
         ", which the index does not place there");
  }
}

}  // namespace

std::vector<ForeignTensor> parse_safetensors_header(std::string_view json_text,
                                                    std::int64_t data_bytes,
                                                    const std::string& where) {
  if (!json_text.starts_with('{')) {
    fail(ErrorKind::kData, where, ": not a safetensors file: its header does not begin with '{'");
  }
  HeaderParser parser(data_bytes, where);
  for_each_member(json_text, where, {.depth = 4, .values = 1 << 16},
                  [&](const std::string& name, const json& value) { parser.add(name, value); });
  return parser.finish();
}

std::vector<ForeignTensor> read_safetensors(const StoredFile& file, const std::string& path) {
  std::array<std::byte, 8> prefix{};
  if (file.size() < 8)
    fail(ErrorKind::kData, path, ": not a safetensors file: only ", file.size(), " bytes");
  file.read(0, prefix);
  const auto length = std::bit_cast<std::uint64_t>(prefix);
  const std::int64_t most = std::min(kMaxForeignHeaderBytes, file.size() - 8);
  if (length > static_cast<std::uint64_t>(most)) {
    fail(ErrorKind::kData, path, ": not a safetensors file, or cut short: a header of ", length,
         " bytes, at most ", most, " are possible");
  }
  std::string header(static_cast<std::size_t>(length), '\0');
  file.read(8, std::as_writable_bytes(std::span(header)));
  const std::int64_t begin = 8 + static_cast<std::int64_t>(length);
  auto tensors = parse_safetensors_header(header, file.size() - begin, path);
  for (ForeignTensor& tensor : tensors) tensor.position += begin;
  return tensors;
}

std::vector<ShardNames> parse_safetensors_index(std::string_view json_text,
                                                const std::string& where) {
  std::map<std::string, std::vector<std::string>> tensors_of;
  bool found = false;
  for_each_member(json_text, where, {.depth = 4, .values = kMaxForeignTensors + 1},
                  [&](const std::string& member, const json& value) {
                    if (member != "weight_map") return;
                    found = value.is_object();
                    if (!found) return;
                    for (const auto& [tensor, file] : value.items()) {
                      if (!file.is_string() || !is_plain_name(file.get_ref<const std::string&>())) {
                        fail(ErrorKind::kData, where, ": the file of tensor ",
                             json(tensor).dump(-1, ' ', true),
                             " is not the plain name of a file in this folder");
                      }
                      tensors_of[file.get<std::string>()].push_back(tensor);
                    }
                  });
  if (!found) fail(ErrorKind::kData, where, ": has no object weight_map");
  std::vector<ShardNames> shards;
  for (auto& [file, tensors] : tensors_of) {
    std::sort(tensors.begin(), tensors.end());
    shards.push_back({file, std::move(tensors)});
  }
  return shards;
}

ForeignFiles open_safetensors_folder(const std::string& folder) {
  ForeignFiles out;
  const std::string single = concat(folder, "/", kSingleName);
  const std::string index = concat(folder, "/", kIndexName);
  if (!exists(index)) {
    if (!exists(single)) {
      fail(ErrorKind::kData, folder, ": holds neither ", kSingleName, " nor ", kIndexName,
           "; name the folder of a model with safetensors, or a .gguf file");
    }
    add_file(out, single);
    return out;
  }
  if (exists(single)) {
    fail(ErrorKind::kData, folder, ": holds both ", kSingleName, " and ", kIndexName,
         "; remove the one that does not belong there");
  }
  for (const ShardNames& shard :
       parse_safetensors_index(read_small_file(index, kMaxIndexBytes, Links::kFollowed), index)) {
    const std::size_t before = out.tensors.size();
    add_file(out, folder + "/" + shard.file);
    check_shard(shard, std::span(out.tensors).subspan(before), index);
  }
  return out;
}

}  // namespace frugal
