#include "trainer/data/bpe.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <functional>

#include "kernels/core/check.h"

namespace frugal {

std::array<char32_t, 256> byte_characters() {
  std::array<char32_t, 256> characters{};
  char32_t substitute = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    characters[byte] = printable ? byte : substitute++;
  }
  return characters;
}

std::array<std::uint8_t, 256> bytes_by_character() {
  std::array<std::uint8_t, 256> bytes{};
  for (int byte = 0; byte < 256; ++byte) bytes[byte] = static_cast<std::uint8_t>(byte);
  const auto characters = byte_characters();
  std::ranges::sort(bytes, {}, [&](std::uint8_t byte) { return characters[byte]; });
  return bytes;
}

MergeTable::MergeTable(const std::vector<TokenPair>& merges,
                       const std::vector<std::int32_t>& tokens)
    : slots_(std::bit_ceil(2 * merges.size() + 1)), mask_(slots_.size() - 1) {
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::uint64_t pair = key(merges[rank].first, merges[rank].second);
    std::uint64_t at = slot(pair);
    while (slots_[at].pair != kEmpty) at = (at + 1) & mask_;
    slots_[at] = {pair, static_cast<std::int32_t>(rank), tokens[rank]};
  }
}

void WordMerger::offer(const std::int32_t* ids, std::int32_t position) {
  const std::int32_t rank = merges_.find(ids[position], ids[next_[position]]).rank;
  if (rank == MergeTable::kNone) return;
  heap_.push_back({rank, position});
  std::ranges::push_heap(heap_, std::greater<>());
}

void WordMerger::merge(std::vector<std::int32_t>& out, std::size_t begin) {
  FRUGAL_CHECK(out.size() - begin <= INT32_MAX);
  const auto size = static_cast<std::int32_t>(out.size() - begin);
  std::int32_t* ids = out.data() + begin;
  next_.resize(size);
  previous_.resize(size);
  for (std::int32_t i = 0; i < size; ++i) {
    next_[i] = i + 1;
    previous_[i] = i - 1;
  }
  heap_.clear();
  for (std::int32_t i = 0; i + 1 < size; ++i) offer(ids, i);
  while (!heap_.empty()) {
    const auto [rank, left] = heap_.front();
    std::ranges::pop_heap(heap_, std::greater<>());
    heap_.pop_back();
    if (ids[left] < 0 || next_[left] == size) continue;  // merged into another since
    const std::int32_t right = next_[left];
    const MergeTable::Merge& found = merges_.find(ids[left], ids[right]);
    if (found.rank != rank) continue;  // the pair has changed since
    ids[left] = found.token;
    ids[right] = -1;
    next_[left] = next_[right];
    if (next_[left] < size) {
      previous_[next_[left]] = left;
      offer(ids, left);
    }
    if (previous_[left] >= 0) offer(ids, previous_[left]);
  }
  out.erase(std::remove(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(), -1),
            out.end());
}

}  // namespace frugal
