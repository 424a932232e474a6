// Texts cut into pieces that threads can work on, with the same words as the whole texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace frugal {

struct TextPiece {
  std::int64_t index = 0;  // over all texts, from 0, without gaps
  std::string_view text;
  bool ends_text = false;
};

// Gives every piece once, in order, to whichever thread asks. Does not own the texts. Thread-safe.
class TextPieces {
 public:
  TextPieces(std::span<const std::string_view> texts, std::size_t piece_bytes)
      : texts_(texts.begin(), texts.end()), piece_bytes_(piece_bytes) {}
  std::optional<TextPiece> next();

 private:
  std::mutex mutex_;
  std::vector<std::string_view> texts_;  // what is left of each
  std::size_t text_ = 0;
  std::int64_t index_ = 0;
  std::size_t piece_bytes_;
};

// Runs work(0), ..., work(threads - 1) on threads of their own and waits for all; rethrows the
// first failure.
void run_threads(int threads, const std::function<void(int)>& work);

// True at most once a second, and not in the first.
class EverySecond {
 public:
  EverySecond();
  bool due();
  double seconds() const;  // since the construction

 private:
  double start_, last_;
};

}  // namespace frugal
