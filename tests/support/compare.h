// A backend's result against the reference's.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/tensors.h"
#include "tests/support/tolerance.h"

namespace frugal::test {

inline void expect_near(const Owned& actual, const Owned& expected, const Tolerance& allowed) {
  for (std::int64_t i = 0; i < actual.get().numel(); ++i) {
    const double a = static_cast<double>(actual.at(i));
    const double e = static_cast<double>(expected.at(i));
    if (a == e) continue;  // also infinities
    // The reference rounds its result too, so two roundings may part them.
    ASSERT_LE(std::abs(a - e), allowed.absolute + 2.0 * allowed.relative * std::abs(e))
        << "element " << i << ": " << a << " instead of " << e;
  }
}

}  // namespace frugal::test
