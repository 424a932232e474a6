#include "trainer/checkpoint/foreign_tensor.h"

#include <algorithm>
#include <string_view>

namespace frugal {

bool valid_foreign_name(std::string_view name) {
  const auto allowed = [](char c) { return c > ' ' && c < '\x7f' && c != '"' && c != '\\'; };
  return !name.empty() && name.size() <= kMaxForeignNameBytes &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::optional<std::int64_t> elements_of(const std::vector<std::int64_t>& shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(product, std::max<std::int64_t>(size, 1), &product) ||
        product > std::int64_t{1} << 56) {
      return std::nullopt;
    }
  }
  return std::ranges::find(shape, 0) == shape.end() ? product : 0;
}

}  // namespace frugal
