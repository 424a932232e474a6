// Finding added tokens in a text.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "trainer/data/tokenizer_tables.h"

namespace frugal {

// Finds the leftmost token, of those that begin there the longest. Immutable, thread-safe; keeps
// pointers to the tokens.
class AddedTokenFinder {
 public:
  explicit AddedTokenFinder(std::vector<const AddedToken*> tokens);

  struct Found {
    std::size_t at = std::string_view::npos;
    const AddedToken* token = nullptr;  // none if there is no token in the text
  };
  Found find(std::string_view text) const;

 private:
  const AddedToken* longest_at(std::string_view text) const;

  std::vector<const AddedToken*> tokens_;  // by content
  std::array<bool, 256> starts_{};         // with which bytes they begin
};

}  // namespace frugal
