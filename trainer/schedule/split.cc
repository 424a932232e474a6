#include <algorithm>
#include <limits>

#include "trainer/schedule/schedule.h"

namespace frugal {

// Dynamic programming over (parts, layers): the smallest possible largest part, then the smallest
// sum of squares.
std::vector<int> split_by_cost(const std::vector<double>& layer_costs, int stages) {
  const auto layers = static_cast<int>(layer_costs.size());
  if (stages < 1 || stages > layers) {
    throw ScheduleError(std::to_string(layers) + " layers cannot be divided among " +
                        std::to_string(stages) + " stages");
  }
  std::vector<double> prefix{0.0};
  for (const double cost : layer_costs) prefix.push_back(prefix.back() + cost);
  struct Best {
    double largest = std::numeric_limits<double>::infinity();
    double squares = std::numeric_limits<double>::infinity();
    int cut = 0;
  };
  const auto rows = static_cast<std::size_t>(stages) + 1,
             columns = static_cast<std::size_t>(layers) + 1;
  std::vector<std::vector<Best>> best(rows, std::vector<Best>(columns));
  best[0][0] = {0.0, 0.0, 0};
  for (std::size_t part = 1; part < rows; ++part) {
    for (std::size_t end = part; end < columns; ++end) {
      for (std::size_t cut = part - 1; cut < end; ++cut) {
        const double cost = prefix[end] - prefix[cut];
        const Best candidate{std::max(best[part - 1][cut].largest, cost),
                             best[part - 1][cut].squares + cost * cost, static_cast<int>(cut)};
        Best& now = best[part][end];
        if (candidate.largest < now.largest ||
            (candidate.largest == now.largest && candidate.squares < now.squares)) {
          now = candidate;
        }
      }
    }
  }
  std::vector<int> sizes;
  for (int part = stages, end = layers; part > 0; --part) {
    const int cut = best[static_cast<std::size_t>(part)][static_cast<std::size_t>(end)].cut;
    sizes.insert(sizes.begin(), end - cut);
    end = cut;
  }
  return sizes;
}

}  // namespace frugal
