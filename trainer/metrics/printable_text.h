// Text that a model wrote, made safe to show.
#pragma once

#include <string>
#include <string_view>

namespace frugal {

// Valid UTF-8 without control characters: each byte that is part of neither, newline and tab
// excepted, becomes U+FFFD. A half-trained byte-level model writes broken UTF-8 and could write
// terminal escape sequences.
std::string printable_text(std::string_view bytes);

}  // namespace frugal
