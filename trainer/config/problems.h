// Positions in what the user wrote, and the list of everything that is wrong with it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "trainer/config/config.h"

namespace frugal::config {

// A text that positions point into. Outlives them.
struct Source {
  std::string name;  // the path of the file, or "override 2"
  std::string text;
  int order = 0;  // 0: the file; n: override n
};

struct Position {
  const Source* source = nullptr;
  int line = 0, column = 0;  // from 0; the column in bytes
};

// "name:line:column" from 1 for a file, the name alone for an override; and the line with its
// caret.
KeyOrigin describe(const Position& at);

// 'text', with control characters replaced and the rest of a long one cut: for messages.
std::string quoted(std::string_view text);

class Problems {
 public:
  void add(const Position& at, std::string message);
  void add(const KeyOrigin& origin, std::string message);  // keeps the order of the calls
  bool empty() const { return list_.empty(); }
  // Throws ConfigError with all of them, in the order of the file, then of the overrides; beyond a
  // hundred they are counted only.
  void throw_if_any() const;

 private:
  struct Problem {
    Position at;
    KeyOrigin origin;
    std::string message;
  };
  std::vector<Problem> list_;
  int beyond_ = 0;
};

}  // namespace frugal::config
