// Reading configs in tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace frugal {

inline Config parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_config(text, "a.yaml", overrides);
}

// The message, or "" where the config is fine.
inline std::string problems_of(const std::string& text,
                               const std::vector<std::string>& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

inline ::testing::AssertionResult says(const std::string& message, const std::string& part) {
  if (message.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "not found: " << part << "\nin:\n" << message;
}

}  // namespace frugal
