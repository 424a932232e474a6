// JSON that others wrote as a tree with positions.
#pragma once

#include "trainer/config/yaml_tree.h"

namespace frugal::config {

// The object that source.text is. Throws ConfigError where it is none, has a key twice, is nested
// too deeply or larger than kLargestConfig.
Node read_json(const Source& source);

}  // namespace frugal::config
