#include "trainer/cli/streamed_text.h"

#include <algorithm>
#include <cstdio>

#include "fmt/format.h"
#include "trainer/metrics/printable_text.h"

namespace frugal::cli {

void StreamedText::add(std::int32_t token) {
  bytes_ += tokenizer_.bytes_of(token);
  // Up to the first byte of a character that is not whole yet.
  std::size_t end = bytes_.size();
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, bytes_.size()); ++back) {
    const auto byte = static_cast<unsigned char>(bytes_[bytes_.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;  // inside a character
    const std::size_t length = byte >= 0xF0U ? 4 : byte >= 0xE0U ? 3 : byte >= 0xC0U ? 2 : 1;
    if (length > back) end = bytes_.size() - back;
    break;
  }
  print(end);
}

void StreamedText::print(std::size_t end) {
  fmt::print("{}", printable_text(std::string_view(bytes_).substr(0, end)));
  std::fflush(stdout);
  bytes_.erase(0, end);
}

}  // namespace frugal::cli
