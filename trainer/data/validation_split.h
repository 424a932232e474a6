// Which part of the texts is for validation.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace frugal {

struct ValidationSplit {
  std::vector<std::string_view> train, validation;
};

// Takes the last `fraction` (0 <= fraction < 1) of the bytes for validation. Cuts at the end of a
// document (of a text, or of a piece that ends with `separator`) if there is one that makes the
// part at least half and at most one and a half as large as asked for, the nearest; else within a
// document, at the next line or word. Throws Error(kData) if there is nothing to cut.
ValidationSplit split_validation(std::span<const std::string_view> texts, double fraction,
                                 std::string_view separator);

}  // namespace frugal
