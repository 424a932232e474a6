// GGUF, version 2 and 3, little-endian: header, metadata, what the tensors are, their data.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/checkpoint/foreign_tensor.h"
#include "trainer/checkpoint/gguf_value.h"

namespace frugal {

inline constexpr std::int64_t kMaxGgufHeaderBytes = 64 << 20;  // all before the data
inline constexpr std::uint64_t kMaxGgufKeys = 1 << 16;
inline constexpr std::uint64_t kMaxGgufKeyBytes = 1024;
inline constexpr std::uint64_t kMaxGgufTextBytes = 16 << 20;
inline constexpr std::uint64_t kMaxGgufArray = 1 << 22;
inline constexpr std::size_t kMaxGgufDepth = 4;  // arrays in each other
inline constexpr std::int64_t kMaxGgufAlignment = 1 << 20;
inline constexpr std::int64_t kGgufAlignment = 32;  // unless general.alignment says otherwise

struct GgufContent {
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<ForeignTensor> tensors;  // in the file's order; names differ
};

// Reads all but the data. Nothing is allocated before it is known that the file is long enough for
// it. Throws Error(kData) naming path and key or tensor: of another format or version, counts,
// lengths, types or depths beyond the limits, keys or tensors that occur twice, tensors that do not
// follow each other as their shapes and the alignment say, or a file that ends elsewhere.
GgufContent read_gguf(const StoredFile& file, const std::string& path);

// A file of which all sizes are known: the header first, then the data of the tensors in order.
struct GgufTensor {
  std::string name;
  ElementType element = ElementType::kF32;
  std::vector<std::int64_t> shape;  // outermost first
};
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;
// All before the data of the first tensor, in version 3. REQUIRES: whole blocks in each row.
std::string gguf_header(const GgufMetadata& metadata, std::span<const GgufTensor> tensors);
// Zero bytes after so many bytes of data of a tensor.
std::int64_t gguf_padding(std::int64_t bytes);

}  // namespace frugal
