#include "trainer/data/validation_split.h"

#include <algorithm>
#include <cstddef>

#include "kernels/core/check.h"
#include "trainer/data/words.h"

namespace frugal {
namespace {

struct Window {
  std::size_t first, target, last;  // bytes over all texts
};

// The place within `text`, which starts at byte `start` of all texts.
std::size_t cut_in_document(std::string_view text, std::size_t start, const Window& window) {
  const std::size_t from = window.target - start;
  const std::size_t line = text.find('\n', from);
  if (line != std::string_view::npos && start + line + 1 <= window.last) return start + line + 1;
  return start + safe_cut(text, from);
}

// The nearest end of a document in the window, else a place within the document at the target.
std::size_t choose_cut(std::span<const std::string_view> texts, std::string_view separator,
                       const Window& window) {
  std::size_t best = std::string_view::npos;
  const auto consider = [&](std::size_t place) {
    const auto distance = [&](std::size_t at) {
      return at < window.target ? window.target - at : at - window.target;
    };
    if (place < window.first || place > window.last) return;
    if (best == std::string_view::npos || distance(place) < distance(best)) best = place;
  };
  std::size_t start = 0;
  std::size_t in_document = 0;
  for (const std::string_view text : texts) {
    const std::size_t end = start + text.size();
    if (end >= window.first && start <= window.last) {
      // A separator may begin before the window and end in it.
      std::size_t at = window.first - std::min(window.first, start + separator.size());
      while ((at = text.find(separator, at)) != std::string_view::npos &&
             start + at <= window.last) {
        at += separator.size();
        consider(start + at);
      }
      consider(end);
    }
    if (start <= window.target && window.target < end) {
      in_document = cut_in_document(text, start, window);
    }
    start = end;
  }
  return best == std::string_view::npos ? in_document : best;
}

}  // namespace

ValidationSplit split_validation(std::span<const std::string_view> texts, double fraction,
                                 std::string_view separator) {
  std::size_t total = 0;
  for (const std::string_view text : texts) total += text.size();
  if (total == 0) fail(ErrorKind::kData, "data build: the files hold no text");
  if (fraction == 0.0) return {{texts.begin(), texts.end()}, {}};

  const auto share = static_cast<std::size_t>(fraction * static_cast<double>(total));
  const std::size_t target = total - std::max<std::size_t>(share, 1);
  const Window window{std::max<std::size_t>(target - std::min(target, share / 2), 1), target,
                      std::min(target + share / 2, total - 1)};
  const std::size_t cut = choose_cut(texts, separator, window);
  if (cut == 0 || cut >= total) {
    fail(ErrorKind::kData, "data build: ", total,
         " bytes of text cannot be cut into a part for training and one for validation: give more "
         "text, or --validation-fraction 0");
  }
  ValidationSplit split;
  std::size_t start = 0;
  for (const std::string_view text : texts) {
    const std::size_t place = std::clamp(cut, start, start + text.size()) - start;
    if (place > 0) split.train.push_back(text.substr(0, place));
    if (place < text.size()) split.validation.push_back(text.substr(place));
    start += text.size();
  }
  return split;
}

}  // namespace frugal
