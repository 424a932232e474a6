// JSON text as the same tree as YAML's, strictly, in linear time.
#pragma once

#include "trainer/config/yaml_tree.h"

namespace frugal::config {

// Reads source.text, one object. Entries are in the order of the text and know where their keys
// stand; an item of a list stands where the list's key does. Throws ConfigError, naming the source,
// where it is not one JSON object, a key stands twice in a map, or it is beyond the limits of
// yaml_tree.h.
Node read_json(const Source& source);

}  // namespace frugal::config
