// How other programs spell our keys: hints for people who come from there, never aliases.
#pragma once

#include <string_view>

namespace frugal::config {

// What to say about the key: "did you mean 'optimizer.learning_rate'?" or a sentence about what
// takes its place. Upper and lower case and '-' and '_' alike. Empty: nobody we know says this.
std::string_view foreign_hint(std::string_view name);

}  // namespace frugal::config
