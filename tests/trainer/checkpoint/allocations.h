// What this test binary allocates with operator new.
#pragma once

#include <cstddef>

namespace frugal::test {

// Watches all threads from construction on.
class LargestAllocation {
 public:
  LargestAllocation();
  std::size_t bytes() const;
};

}  // namespace frugal::test
