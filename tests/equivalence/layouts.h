// The layouts whose bits are compared.
#pragma once

#include <string>
#include <vector>

namespace frugal::test {

struct Layout {
  int data = 1, pipeline = 1, tensor = 1;
  std::string schedule = "1f1b";  // interleaved_1f1b: two stages on each rank
  int zero_stage = 1;
  bool recompute = false;
  std::vector<int> stage_layers;  // given, or by cost

  int ranks() const { return data * pipeline * tensor; }
  // The smallest multiple of the eight lanes that every data-parallel size up to 8 can schedule:
  // 24, an odd number for each of eight ranks, or 32 where interleaving needs an even one.
  int microbatches() const;
};

std::string describe(const Layout& layout);

// Data 1, 2, 4, 8 x pipeline 1, 2, 3, 4 x every schedule x recompute x ZeRO: 256. Half of them with
// uneven stages given where three layers allow it, the others divided by cost.
std::vector<Layout> all_layouts();

// Sixteen of them, in which every pair of values of (data, pipeline, schedule, recompute with ZeRO)
// occurs exactly once: what any two of these do to each other is seen.
std::vector<Layout> covering_layouts();

}  // namespace frugal::test
