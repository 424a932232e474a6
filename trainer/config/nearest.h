// What the writer of an unknown word may have meant.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace frugal::config {

// The candidate closest to the word: at most 2 insertions, deletions, replacements or swaps of
// neighbours away (1 for words below 5 letters), upper and lower case alike. Empty: none is close.
std::string nearest(std::string_view word, std::span<const std::string_view> candidates);

// The end of the message about an unknown key: "; did you mean 'optimizer.learning_rate'?", or what
// exists. Looks among other programs' spellings, then in the section, then everywhere. section is
// empty for the top level.
std::string unknown_key_hint(std::string_view section, std::string_view name);

// The same for a text that is none of the choices; empty when nothing is close.
std::string unknown_choice_hint(std::string_view word, std::span<const std::string_view> choices);

}  // namespace frugal::config
