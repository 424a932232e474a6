// Complete schedules (transfers and reductions inserted) against tests/golden/schedule/NAME.txt.
// FRUGAL_UPDATE_GOLDEN=1 in the environment writes the files instead: read the difference before
// you commit it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

struct Case {
  std::string schedule;
  int ranks, microbatches, chunks;
  std::string name() const {
    return schedule + "_" + std::to_string(ranks) + "x" + std::to_string(microbatches) +
           (chunks > 1 ? "x" + std::to_string(chunks) : "");
  }
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const char* schedule : {"gpipe", "1f1b", "zb_h1"}) {
    out.push_back({schedule, 1, 2, 1});
    out.push_back({schedule, 2, 3, 1});
    out.push_back({schedule, 4, 3, 1});  // fewer micro-batches than ranks
    out.push_back({schedule, 4, 8, 1});
  }
  out.push_back({"interleaved_1f1b", 1, 2, 2});
  out.push_back({"interleaved_1f1b", 2, 4, 2});
  out.push_back({"interleaved_1f1b", 4, 8, 2});
  out.push_back({"interleaved_1f1b", 3, 3, 3});
  return out;
}

class Golden : public testing::TestWithParam<Case> {};

TEST_P(Golden, IsWhatTheGeneratorsMake) {
  const Case& c = GetParam();
  const Schedule schedule = insert_grad_reductions(
      insert_transfers(make_schedule(c.schedule, c.ranks, c.microbatches, c.chunks)));
  const std::string path = FRUGAL_GOLDEN_DIR "/schedule/" + c.name() + ".txt";
  const char* update = std::getenv("FRUGAL_UPDATE_GOLDEN");
  if (update != nullptr && std::string(update) == "1") std::ofstream(path) << to_text(schedule);
  std::ifstream in(path);
  ASSERT_TRUE(in.good()) << path;
  const std::string golden{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  EXPECT_EQ(to_text(schedule), golden);
  EXPECT_EQ(from_text(golden), schedule);
}

INSTANTIATE_TEST_SUITE_P(Schedule, Golden, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace frugal
