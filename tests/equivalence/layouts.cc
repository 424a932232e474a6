#include "tests/equivalence/layouts.h"

#include <array>
#include <bit>

#include "kernels/core/check.h"

namespace frugal::test {
namespace {

constexpr std::array<int, 4> kData{1, 2, 4, 8};
constexpr std::array<int, 4> kPipeline{1, 2, 3, 4};
const std::array<std::string, 4> kSchedules{"gpipe", "1f1b", "interleaved_1f1b", "zb_h1"};

// One value of each factor; each index from 0 to 3.
Layout layout_of(std::size_t data, std::size_t pipeline, std::size_t schedule, std::size_t memory) {
  return {.data = kData.at(data),
          .pipeline = kPipeline.at(pipeline),
          .schedule = kSchedules.at(schedule),
          .zero_stage = static_cast<int>(memory & 1U),
          .recompute = (memory & 2U) != 0};
}

// An uneven division of three layers; empty where only one by cost exists.
std::vector<int> uneven_stages(const Layout& l) {
  switch (l.pipeline * (l.schedule == "interleaved_1f1b" ? 2 : 1)) {
    case 2:
      return {2, 1};
    case 3:
      return {0, 2, 1};
    case 4:
      return {0, 2, 1, 0};
    default:
      return {};
  }
}

// Multiplication in the field of four elements, where addition is exclusive or.
std::size_t times(std::size_t a, std::size_t b) {
  std::size_t product = ((b & 1U) != 0 ? a : 0) ^ ((b & 2U) != 0 ? a << 1U : 0);
  if ((product & 4U) != 0) product ^= 7U;
  return product;
}

}  // namespace

int Layout::microbatches() const {
  return schedule == "interleaved_1f1b" && pipeline % 2 == 0 ? 32 : 24;
}

std::string describe(const Layout& l) {
  return concat("data ", l.data, " pipeline ", l.pipeline, " tensor ", l.tensor, " ", l.schedule,
                " zero ", l.zero_stage, l.recompute ? " recompute" : "",
                l.stage_layers.empty() ? "" : " uneven");
}

std::vector<Layout> all_layouts() {
  std::vector<Layout> out;
  for (std::size_t i = 0; i < 256; ++i) {
    Layout layout = layout_of(i / 64, i / 16 % 4, i / 4 % 4, i % 4);
    if (std::popcount(i) % 2 == 0) layout.stage_layers = uneven_stages(layout);
    out.push_back(layout);
  }
  return out;
}

// Lines of a plane over the field of four: (a, b, a + b, a + 2b) determine each other by pairs.
std::vector<Layout> covering_layouts() {
  std::vector<Layout> out;
  for (std::size_t a = 0; a < 4; ++a) {
    for (std::size_t b = 0; b < 4; ++b) {
      Layout layout = layout_of(a, b, a ^ b, a ^ times(2, b));
      if ((a ^ times(3, b)) < 2) layout.stage_layers = uneven_stages(layout);
      out.push_back(layout);
    }
  }
  return out;
}

}  // namespace frugal::test
