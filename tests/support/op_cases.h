// One description of every op's inputs and outputs, so that backends, thread counts and references
// can be compared on it.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/ops/op_table.h"
#include "tests/support/tensors.h"
#include "tests/support/tolerance.h"

namespace frugal::test {

// Runs one op of `table` on fresh inputs made from fixed keys and returns all its outputs.
struct OpCase {
  std::string name;
  std::function<std::vector<Owned>(const OpTable& table, Stream& stream)> run;
  Tolerance tolerance;  // against the reference
};

inline std::ostream& operator<<(std::ostream& out, const OpCase& op) {
  return out << op.name;
}

// Every op at odd, empty and larger sizes, in each dtype.
std::vector<OpCase> op_cases();

// Of kernels/ops/cache.h: part of the above.
void add_cache_cases(std::vector<OpCase>& cases);

// The reference as a table, like a backend's.
const OpTable& reference_table();

}  // namespace frugal::test
