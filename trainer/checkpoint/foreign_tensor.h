// A tensor as a file of others describes it, and the files it may lie in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "trainer/checkpoint/elements.h"
#include "trainer/checkpoint/file_ops.h"

namespace frugal {

inline constexpr std::size_t kMaxForeignTensors = std::size_t{1} << 20;  // of a file
inline constexpr std::size_t kMaxForeignNameBytes = 512;

struct ForeignTensor {
  std::string name;
  std::string type;                    // the file's word: "BF16", "I64", "Q4_K"
  std::optional<ElementType> element;  // nullopt: no elements that can be read here
  std::vector<std::int64_t> shape;     // outermost first
  int file = 0;                        // in ForeignFiles
  std::int64_t position = 0;           // of the first byte, in the file
  std::int64_t bytes = 0;              // checked: they lie in the file, and are what shape needs
};

struct ForeignFile {
  std::string path;
  std::unique_ptr<StoredFile> file;
};

struct ForeignFiles {
  std::vector<ForeignFile> files;
  std::vector<ForeignTensor> tensors;  // names differ
};

// Printable ASCII without space, quote and backslash; 1 to 512 bytes.
bool valid_foreign_name(std::string_view name);

// The product of sizes that are not negative; nullopt beyond 2^56.
std::optional<std::int64_t> elements_of(const std::vector<std::int64_t>& shape);

}  // namespace frugal
