#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/core/check.h"
#include "trainer/checkpoint/gguf_file.h"

namespace frugal {
namespace {

// The numbers that ggml gives the types that are written.
std::uint32_t type_id(ElementType element) {
  switch (element) {
    case ElementType::kF32:
      return 0;
    case ElementType::kF16:
      return 1;
    case ElementType::kQ8_0:
      return 8;
    case ElementType::kBF16:
      return 30;
    default:
      FRUGAL_CHECK(false, layout_of(element).name, " is only read");
  }
}

class Header {
 public:
  template <class T>
  void number(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }

  void text(std::string_view text) {
    number(std::uint64_t{text.size()});
    bytes_.append(text);
  }

  void value(const GgufValue& value) {
    const bool array = value.value.index() >= 5;
    if (array) number(GgufType::kArray);
    number(value.type);
    std::visit([&](const auto& held) { put(value.type, held); }, value.value);
  }

  void pad() {
    bytes_.append(static_cast<std::size_t>(gguf_padding(static_cast<std::int64_t>(bytes_.size()))),
                  '\0');
  }

  std::string take() { return std::move(bytes_); }

 private:
  void put(GgufType, std::monostate) { FRUGAL_CHECK(false, "arrays of arrays are only read"); }
  void put(GgufType, const std::string& held) { text(held); }
  void put(GgufType, bool held) { number(held); }
  void put(GgufType type, double held) {
    FRUGAL_CHECK(type == GgufType::kF32);
    number(static_cast<float>(held));
  }
  void put(GgufType type, std::int64_t held) {
    FRUGAL_CHECK(type == GgufType::kU32 || type == GgufType::kI32);
    number(static_cast<std::uint32_t>(held));
  }
  template <class T>
  void put(GgufType type, const std::vector<T>& held) {
    number(std::uint64_t{held.size()});
    for (const T& item : held) put(type, item);
  }

  std::string bytes_;
};

}  // namespace

std::int64_t gguf_padding(std::int64_t bytes) {
  return (kGgufAlignment - bytes % kGgufAlignment) % kGgufAlignment;
}

std::string gguf_header(const GgufMetadata& metadata, std::span<const GgufTensor> tensors) {
  Header header;
  header.number(std::array{'G', 'G', 'U', 'F'});
  header.number(std::uint32_t{3});
  header.number(std::uint64_t{tensors.size()});
  header.number(std::uint64_t{metadata.size()});
  for (const auto& [key, value] : metadata) {
    header.text(key);
    header.value(value);
  }
  std::int64_t position = 0;
  for (const GgufTensor& tensor : tensors) {
    header.text(tensor.name);
    header.number(static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      header.number(*size);
    }
    header.number(type_id(tensor.element));
    header.number(position);
    const ElementLayout& layout = layout_of(tensor.element);
    FRUGAL_CHECK(tensor.shape.back() % layout.block == 0, tensor.name);
    const std::int64_t bytes = elements_of(tensor.shape).value() / layout.block * layout.bytes;
    position += bytes + gguf_padding(bytes);
  }
  header.pad();
  return header.take();
}

}  // namespace frugal
