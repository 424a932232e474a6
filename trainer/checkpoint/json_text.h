// JSON that others wrote: bounded, and strict about what parsers read differently.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "nlohmann/json.hpp"

namespace frugal {

struct JsonLimits {
  int depth = 16;                 // objects and arrays in each other
  std::int64_t values = 1 << 20;  // in one member of the outermost object
};

// Calls use(name, value) for each member of the object that text is, in its order, and forgets it:
// memory is that of one member and of all names. `where` stands for the text in messages. Throws
// Error(kData) where text is not one JSON object in UTF-8, a name occurs twice in an object, or a
// limit is passed; members before that place have been used by then.
using UseMember = std::function<void(const std::string& name, const nlohmann::json& value)>;
void for_each_member(std::string_view text, const std::string& where, JsonLimits limits,
                     const UseMember& use);

// The whole object, under the same rules.
nlohmann::json parse_json_object(std::string_view text, const std::string& where,
                                 JsonLimits limits);

}  // namespace frugal
