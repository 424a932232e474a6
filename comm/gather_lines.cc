#include "comm/gather_lines.h"

#include <algorithm>

namespace frugal {

std::vector<std::string> gather_lines(ProcessGroup& group, const std::string& own) {
  constexpr std::size_t kBytes = 256;
  const auto ranks = static_cast<std::size_t>(group.size());
  const auto bytes = [](std::string& text) {
    return Tensor{reinterpret_cast<std::byte*>(text.data()),
                  {static_cast<std::int64_t>(text.size())},
                  DType::kU8,
                  {}};
  };
  std::string line = own.substr(0, kBytes - 1);
  line.resize(kBytes, '\0');
  std::string all(ranks * kBytes, '\0');
  const auto stream = make_stream({}, "lines");
  group.all_gather(bytes(line), bytes(all), *stream);
  stream->synchronize();
  std::vector<std::string> lines;
  for (std::size_t rank = 0; rank < ranks; ++rank) lines.emplace_back(all.c_str() + rank * kBytes);
  return lines;
}

std::string first_complaint(ProcessGroup& group, const std::string& own) {
  const std::vector<std::string> lines = gather_lines(group, own);
  const auto found = std::ranges::find_if(lines, [](const std::string& l) { return !l.empty(); });
  return found == lines.end() ? "" : concat("rank ", found - lines.begin(), ": ", *found);
}

}  // namespace frugal
