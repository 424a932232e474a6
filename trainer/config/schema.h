// Every key of a config, once. Reading, checking, overrides, dump_config and the reference page are
// loops over this table.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "trainer/config/config.h"
#include "trainer/config/value.h"

namespace frugal::config {

template <class Owner>
struct KeyOf {
  std::string_view section;  // empty: a key of the top level
  std::string_view name;
  Value (*value)(Owner&);
  Limits limits;
  std::string_view text;  // one line; the default is what the struct says

  std::string full_name() const {
    return section.empty() ? std::string(name) : std::string(section) + "." + std::string(name);
  }
};
using Key = KeyOf<Config>;
using SourceKey = KeyOf<DataSourceConfig>;  // of an element of data.train or data.validation

std::span<const Key> keys();  // keys of a section stand together
std::span<const SourceKey> source_keys();
const Key* find_key(std::string_view section, std::string_view name);  // nullptr: none
std::span<const std::string_view> sections();                          // in order
std::string_view section_text(std::string_view section);
// Puts the names of lora.targets into the order of the modules of a layer, in which one set of them
// has one spelling.
void order_targets(std::vector<std::string>& targets);

}  // namespace frugal::config
