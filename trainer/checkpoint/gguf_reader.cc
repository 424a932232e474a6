#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>

#include "kernels/core/check.h"
#include "trainer/checkpoint/gguf_file.h"

namespace frugal {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::string_view kAlignmentKey = "general.alignment";
constexpr std::uint32_t kMaxRank = 4;

// Every type that files may hold: sizes are needed to know where the next tensor begins.
struct StoredType {
  std::uint32_t id;
  std::string_view name;
  std::int64_t block, bytes;
};
constexpr std::array kTypes = {
    StoredType{0, "F32", 1, 4},         StoredType{1, "F16", 1, 2},
    StoredType{2, "Q4_0", 32, 18},      StoredType{3, "Q4_1", 32, 20},
    StoredType{6, "Q5_0", 32, 22},      StoredType{7, "Q5_1", 32, 24},
    StoredType{8, "Q8_0", 32, 34},      StoredType{9, "Q8_1", 32, 40},
    StoredType{10, "Q2_K", 256, 84},    StoredType{11, "Q3_K", 256, 110},
    StoredType{12, "Q4_K", 256, 144},   StoredType{13, "Q5_K", 256, 176},
    StoredType{14, "Q6_K", 256, 210},   StoredType{15, "Q8_K", 256, 292},
    StoredType{16, "IQ2_XXS", 256, 66}, StoredType{17, "IQ2_XS", 256, 74},
    StoredType{18, "IQ3_XXS", 256, 98}, StoredType{19, "IQ1_S", 256, 50},
    StoredType{20, "IQ4_NL", 32, 18},   StoredType{21, "IQ3_S", 256, 110},
    StoredType{22, "IQ2_S", 256, 82},   StoredType{23, "IQ4_XS", 256, 136},
    StoredType{24, "I8", 1, 1},         StoredType{25, "I16", 1, 2},
    StoredType{26, "I32", 1, 4},        StoredType{27, "I64", 1, 8},
    StoredType{28, "F64", 1, 8},        StoredType{29, "IQ1_M", 256, 56},
    StoredType{30, "BF16", 1, 2},       StoredType{34, "TQ1_0", 256, 54},
    StoredType{35, "TQ2_0", 256, 66},   StoredType{39, "MXFP4", 32, 17},
    StoredType{40, "NVFP4", 64, 36},    StoredType{41, "Q1_0", 128, 18},
};

constexpr std::array kElements = {ElementType::kF32,  ElementType::kF16,  ElementType::kBF16,
                                  ElementType::kQ8_0, ElementType::kQ4_0, ElementType::kQ4_1};

// Of a scalar; of a string and an array the least that one takes.
std::uint64_t least_bytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kArray:
      return 12;
    default:
      return 8;
  }
}

bool is_float(GgufType type) {
  return type == GgufType::kF32 || type == GgufType::kF64;
}

// The bytes before the data, in order.
class Cursor {
 public:
  Cursor(const StoredFile& file, const std::string& path)
      : file_(file), path_(path), end_(std::min(file.size(), kMaxGgufHeaderBytes)) {}

  std::int64_t position() const { return position_; }

  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorKind::kData, path_, ": ", what);
  }

  // Before count things of so many bytes are read, or allocated.
  void need(std::uint64_t count, std::uint64_t bytes) const {
    const auto left = static_cast<std::uint64_t>(end_ - position_);
    if (count <= left / bytes) return;
    refuse(file_.size() > end_ ? concat("metadata of more than ", kMaxGgufHeaderBytes, " bytes")
                               : "ends inside its metadata; bring the whole file again");
  }

  template <class T>
  T number() {
    T value;
    bytes(&value, sizeof(T));
    return value;
  }

  std::string text(std::uint64_t most, std::string_view what) {
    const auto length = number<std::uint64_t>();
    if (length > most) refuse(concat(what, " of ", length, " bytes, at most ", most));
    need(length, 1);
    std::string out(static_cast<std::size_t>(length), '\0');
    bytes(out.data(), out.size());
    return out;
  }

 private:
  void bytes(void* out, std::size_t count) {
    need(count, 1);
    auto* to = static_cast<std::byte*>(out);
    while (count > 0) {
      if (position_ >= window_end_ || position_ < window_begin_) fill();
      const auto from = static_cast<std::size_t>(position_ - window_begin_);
      const std::size_t part = std::min(count, static_cast<std::size_t>(window_end_ - position_));
      std::memcpy(to, window_.data() + from, part);
      to += part;
      count -= part;
      position_ += static_cast<std::int64_t>(part);
    }
  }

  void fill() {
    window_.resize(static_cast<std::size_t>(std::min<std::int64_t>(1 << 16, end_ - position_)));
    file_.read(position_, window_);
    window_begin_ = position_;
    window_end_ = position_ + static_cast<std::int64_t>(window_.size());
  }

  const StoredFile& file_;
  const std::string& path_;
  const std::int64_t end_;
  std::int64_t position_ = 0;
  std::vector<std::byte> window_;
  std::int64_t window_begin_ = 0, window_end_ = 0;
};

class Parser {
 public:
  Parser(const StoredFile& file, const std::string& path) : in_(file, path), file_(file) {}

  GgufContent parse() {
    in_.need(24, 1);
    std::array<char, 4> magic = in_.number<std::array<char, 4>>();
    if (std::string_view(magic.data(), 4) != kMagic) in_.refuse("not a GGUF file");
    const auto version = in_.number<std::uint32_t>();
    if (version != 2 && version != 3) {
      in_.refuse(concat("GGUF of version ", version,
                        (version & 0xffffU) == 0 ? " (big-endian)" : "",
                        "; version 2 and 3, little-endian, can be read: convert it anew"));
    }
    const auto tensors = in_.number<std::uint64_t>(), keys = in_.number<std::uint64_t>();
    if (tensors > kMaxForeignTensors)
      in_.refuse(concat(tensors, " tensors, at most ", kMaxForeignTensors));
    if (keys > kMaxGgufKeys) in_.refuse(concat(keys, " keys, at most ", kMaxGgufKeys));
    for (std::uint64_t i = 0; i < keys; ++i) add_key();
    in_.need(tensors, 24);
    for (std::uint64_t i = 0; i < tensors; ++i) add_tensor();
    place_data();
    return std::move(out_);
  }

 private:
  void add_key() {
    key_ = in_.text(kMaxGgufKeyBytes, "a key");
    const auto printable = [](char c) { return c >= ' ' && c < '\x7f'; };
    if (key_.empty() || !std::ranges::all_of(key_, printable)) {
      in_.refuse("a key is not printable ASCII");
    }
    const GgufType type = read_type();
    GgufValue value = type == GgufType::kArray ? read_array() : read_scalar(type);
    if (!out_.metadata.emplace(key_, std::move(value)).second) {
      in_.refuse(concat("key ", key_, " occurs twice"));
    }
  }

  GgufType read_type() {
    const auto id = in_.number<std::uint32_t>();
    if (id > static_cast<std::uint32_t>(GgufType::kF64)) {
      in_.refuse(concat("key ", key_, " has a value of unknown type ", id));
    }
    return static_cast<GgufType>(id);
  }

  std::int64_t read_integer(GgufType type) {
    switch (type) {
      case GgufType::kU8:
        return in_.number<std::uint8_t>();
      case GgufType::kI8:
        return in_.number<std::int8_t>();
      case GgufType::kU16:
        return in_.number<std::uint16_t>();
      case GgufType::kI16:
        return in_.number<std::int16_t>();
      case GgufType::kU32:
        return in_.number<std::uint32_t>();
      case GgufType::kI32:
        return in_.number<std::int32_t>();
      case GgufType::kBool: {
        const auto truth = in_.number<std::uint8_t>();
        if (truth > 1) in_.refuse(concat("key ", key_, " has a truth value of ", int{truth}));
        return truth;
      }
      default:
        return in_.number<std::int64_t>();
    }
  }

  double read_float(GgufType type) {
    return type == GgufType::kF32 ? double{in_.number<float>()} : in_.number<double>();
  }

  std::string read_text() { return in_.text(kMaxGgufTextBytes, concat("key ", key_, ": a text")); }

  GgufValue read_scalar(GgufType type) {
    if (type == GgufType::kString) return {type, read_text()};
    if (is_float(type)) return {type, read_float(type)};
    const std::int64_t number = read_integer(type);
    if (type == GgufType::kBool) return {type, number != 0};
    return {type, number};
  }

  std::uint64_t read_length(GgufType type) {
    const auto length = in_.number<std::uint64_t>();
    if (length > kMaxGgufArray) {
      in_.refuse(
          concat("key ", key_, ": an array of ", length, " values, at most ", kMaxGgufArray));
    }
    in_.need(length, least_bytes(type));
    return length;
  }

  GgufValue read_array() {
    const GgufType type = read_type();
    const std::uint64_t length = read_length(type);
    if (type == GgufType::kArray) {
      skip_nested(length);
      return {type, std::monostate()};
    }
    const auto read_all = [&]<class T>(std::vector<T> values, const auto& read) -> GgufValue {
      values.reserve(static_cast<std::size_t>(length));
      for (std::uint64_t i = 0; i < length; ++i) values.push_back(read());
      return {type, std::move(values)};
    };
    if (type == GgufType::kString) {
      return read_all(GgufValue::Texts(), [&] { return read_text(); });
    }
    if (is_float(type)) return read_all(GgufValue::Floats(), [&] { return read_float(type); });
    return read_all(GgufValue::Integers(), [&] { return read_integer(type); });
  }

  // Arrays of arrays are checked and not kept.
  void skip_nested(std::uint64_t length) {
    std::vector<std::uint64_t> left{length};  // arrays still to read at each depth
    while (!left.empty()) {
      if (left.back() == 0) {
        left.pop_back();
        continue;
      }
      --left.back();
      const GgufType type = read_type();
      const std::uint64_t inner = read_length(type);
      if (type == GgufType::kArray) {
        left.push_back(inner);
        if (left.size() == kMaxGgufDepth) {
          in_.refuse(concat("key ", key_, ": arrays of more than ", kMaxGgufDepth, " levels"));
        }
        continue;
      }
      for (std::uint64_t i = 0; i < inner; ++i) read_scalar(type);
    }
  }

  void add_tensor() {
    ForeignTensor tensor;
    tensor.name = in_.text(kMaxForeignNameBytes, "a tensor's name");
    if (!valid_foreign_name(tensor.name)) in_.refuse("a tensor has an invalid name");
    if (!names_.insert(tensor.name).second) {
      in_.refuse(concat("tensor ", tensor.name, " occurs twice"));
    }
    const auto rank = in_.number<std::uint32_t>();
    if (rank > kMaxRank) {
      in_.refuse(concat("tensor ", tensor.name, " has ", rank, " dimensions, at most ", kMaxRank));
    }
    for (std::uint32_t d = 0; d < rank; ++d) tensor.shape.push_back(in_.number<std::int64_t>());
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    const auto id = in_.number<std::uint32_t>();
    const auto* type = std::ranges::find(kTypes, id, &StoredType::id);
    if (type == kTypes.end()) {
      in_.refuse(concat("tensor ", tensor.name, " is of unknown type ", id));
    }
    tensor.type = type->name;
    for (const ElementType element : kElements) {
      if (layout_of(element).name == type->name) tensor.element = element;
    }
    tensor.position = in_.number<std::int64_t>();
    const auto elements = elements_of(tensor.shape);
    const std::int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (!elements || row % type->block != 0) {
      in_.refuse(concat("tensor ", tensor.name, " has impossible sizes for ", type->name));
    }
    tensor.bytes = *elements / type->block * type->bytes;
    out_.tensors.push_back(std::move(tensor));
  }

  // Positions become the file's.
  void place_data() {
    const std::int64_t alignment = read_alignment();
    const auto padded = [&](std::int64_t bytes) {
      return (bytes + alignment - 1) / alignment * alignment;
    };
    const std::int64_t begin = padded(in_.position());
    std::int64_t next = 0, end = 0;
    for (ForeignTensor& tensor : out_.tensors) {
      if (tensor.position != next) {
        in_.refuse(concat("tensor ", tensor.name, " begins at byte ", tensor.position,
                          " of the data, expected ", next));
      }
      end = next + tensor.bytes;
      if (end > file_.size() - begin) {
        in_.refuse(concat("ends inside tensor ", tensor.name, "; bring the whole file again"));
      }
      next = padded(end);
      tensor.position += begin;
    }
    const std::int64_t size = file_.size() - begin;
    if (!out_.tensors.empty() && size != end && size != next) {
      in_.refuse(concat("has ", size, " bytes of data, its tensors need ", end));
    }
  }

  std::int64_t read_alignment() const {
    const auto found = out_.metadata.find(kAlignmentKey);
    if (found == out_.metadata.end()) return kGgufAlignment;
    const auto* number = std::get_if<std::int64_t>(&found->second.value);
    if (number == nullptr || *number < 1 || *number > kMaxGgufAlignment ||
        (*number & (*number - 1)) != 0) {
      in_.refuse(concat(kAlignmentKey, " is no power of two up to ", kMaxGgufAlignment));
    }
    return *number;
  }

  Cursor in_;
  const StoredFile& file_;
  std::string key_;
  std::set<std::string> names_;
  GgufContent out_;
};

}  // namespace

GgufContent read_gguf(const StoredFile& file, const std::string& path) {
  return Parser(file, path).parse();
}

}  // namespace frugal
