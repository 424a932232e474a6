#include "trainer/data/added_tokens.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace frugal {

AddedTokenFinder::AddedTokenFinder(std::vector<const AddedToken*> tokens)
    : tokens_(std::move(tokens)) {
  std::ranges::sort(tokens_, {}, [](const AddedToken* token) { return token->content; });
  for (const AddedToken* token : tokens_)
    starts_[static_cast<std::uint8_t>(token->content[0])] = true;
}

// The tokens that agree with the text so far are neighbours in the sorted list; the shortest of
// them comes first.
const AddedToken* AddedTokenFinder::longest_at(std::string_view text) const {
  const AddedToken* longest = nullptr;
  std::span<const AddedToken* const> agree = tokens_;
  for (std::size_t i = 0; i < text.size() && !agree.empty(); ++i) {
    const auto byte_at = [&](const AddedToken* token) {
      return i < token->content.size() ? static_cast<std::uint8_t>(token->content[i]) : -1;
    };
    const int byte = static_cast<std::uint8_t>(text[i]);
    const auto first = std::ranges::lower_bound(agree, byte, {}, byte_at);
    const auto last = std::ranges::upper_bound(first, agree.end(), byte, {}, byte_at);
    agree = {first, last};
    if (!agree.empty() && agree.front()->content.size() == i + 1) longest = agree.front();
  }
  return longest;
}

AddedTokenFinder::Found AddedTokenFinder::find(std::string_view text) const {
  if (tokens_.empty()) return {};
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!starts_[static_cast<std::uint8_t>(text[at])]) continue;
    if (const AddedToken* token = longest_at(text.substr(at))) return {at, token};
  }
  return {};
}

}  // namespace frugal
