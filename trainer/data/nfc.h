// Unicode's normalisation form C, as `tokenizers` computes it.
#pragma once

#include <string>
#include <string_view>

namespace frugal {

// Empty if text is in form C already, else the text in that form. Its Unicode is version 9, the
// one of the reference library: characters that came later stay as they are, and nothing composes
// with them or moves past them. Bytes that are not UTF-8 do so too.
std::string to_nfc(std::string_view text);

}  // namespace frugal
