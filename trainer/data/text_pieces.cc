#include "trainer/data/text_pieces.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

#include "trainer/data/words.h"

namespace frugal {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

std::optional<TextPiece> TextPieces::next() {
  const std::lock_guard lock(mutex_);
  while (text_ < texts_.size() && texts_[text_].empty()) ++text_;
  if (text_ == texts_.size()) return std::nullopt;
  std::string_view& rest = texts_[text_];
  const std::size_t cut = rest.size() > piece_bytes_ ? safe_cut(rest, piece_bytes_) : rest.size();
  TextPiece piece{index_++, rest.substr(0, cut), cut == rest.size()};
  rest.remove_prefix(cut);
  return piece;
}

void run_threads(int threads, const std::function<void(int)>& work) {
  std::exception_ptr failure;
  std::mutex mutex;
  {
    std::vector<std::jthread> running;
    for (int i = 0; i < std::max(threads, 1); ++i) {
      running.emplace_back([&, i] {
        try {
          work(i);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (failure == nullptr) failure = std::current_exception();
        }
      });
    }
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

EverySecond::EverySecond() : start_(now()), last_(start_) {}

bool EverySecond::due() {
  const double time = now();
  if (time - last_ < 1.0) return false;
  last_ = time;
  return true;
}

double EverySecond::seconds() const {
  return now() - start_;
}

}  // namespace frugal
