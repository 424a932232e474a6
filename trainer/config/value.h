// The types of a key: read from YAML, held against limits, written as YAML.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/config/yaml_tree.h"

namespace frugal::config {

// Where a key's value lives. An absent optional is written `auto`.
using Value =
    std::variant<bool*, int*, std::uint64_t*, double*, std::optional<int>*, std::string*,
                 std::vector<int>*, std::vector<std::string>*, std::vector<DataSourceConfig>*>;

// Of a number, of a text, or of every element of a list.
struct Limits {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false, below_max = false;  // min, max themselves are not allowed
  std::vector<std::string_view> choices;      // of a text; empty: any text
  bool folder_name = false;                   // of a text: fit to name a folder
};

bool within(const Value& value, const Limits& limits);
// What is expected, for messages and the reference: "a number more than 0", "one of a, b".
std::string expectation(const Value& value, const Limits& limits);
// What a plain scalar says, if it is a number.
std::optional<double> as_number(const Node& node);
// In YAML's flow style; read_value gives the same value back.
std::string to_yaml(const Value& value);

// Sets the value from a node, or adds to problems; `key` is its full name.
void read_value(const Node& node, const std::string& key, const Value& value, const Limits& limits,
                Problems& problems);

}  // namespace frugal::config
