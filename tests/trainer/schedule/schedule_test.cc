#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

const std::vector<ActionCosts> kUnit{ActionCosts{}};

std::vector<Schedule> all_schedules(int ranks, int microbatches) {
  std::vector<Schedule> out{make_gpipe(ranks, microbatches), make_one_f_one_b(ranks, microbatches),
                            make_zero_bubble_h1(ranks, microbatches)};
  if (microbatches % ranks == 0) {
    out.push_back(make_interleaved_1f1b(ranks, microbatches, 2));
    out.push_back(make_interleaved_1f1b(ranks, microbatches, 3));
  }
  return out;
}

TEST(Schedule, EveryGeneratorIsValidAtEverySize) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (const int microbatches : {1, 2, 3, 4, 6, 7, 8, 12, 16, 24, 32}) {
      for (const Schedule& schedule : all_schedules(ranks, microbatches)) {
        SCOPED_TRACE(schedule.name + " " + std::to_string(ranks) + " " +
                     std::to_string(microbatches));
        ASSERT_NO_THROW(validate(insert_grad_reductions(insert_transfers(schedule))));
      }
      ASSERT_NO_THROW(
          simulate(insert_transfers(make_forward_only(ranks, 1, microbatches)), kUnit, false));
    }
  }
}

TEST(Schedule, LengthsAndMemoryAreThoseOfTheory) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int microbatches = ranks; microbatches <= 32; ++microbatches) {
      SCOPED_TRACE(std::to_string(ranks) + " ranks, " + std::to_string(microbatches) +
                   " micro-batches");
      const double work = 3.0 * microbatches;
      const auto gpipe = simulate(insert_transfers(make_gpipe(ranks, microbatches)), kUnit);
      // (P-1)(F+B) with B the input gradient alone: a gradient is sent on before the weight
      // gradient is made.
      EXPECT_EQ(gpipe.makespan, work + 2.0 * (ranks - 1));
      EXPECT_EQ(gpipe.peak_until_weight[0], microbatches);
      const auto one = simulate(insert_transfers(make_one_f_one_b(ranks, microbatches)), kUnit);
      EXPECT_EQ(one.makespan, work + 2.0 * (ranks - 1));
      EXPECT_EQ(one.peak_until_weight[0], ranks);
      // (P-1)(F+B-2W) with B the whole backward, which is 2 here: P - 1 of idle time on every rank,
      // within 1F1B's memory.
      const auto zero = simulate(insert_transfers(make_zero_bubble_h1(ranks, microbatches)), kUnit);
      EXPECT_EQ(zero.makespan, work + 1.0 * (ranks - 1));
      EXPECT_LE(*std::max_element(zero.peak_until_weight.begin(), zero.peak_until_weight.end()),
                ranks);
    }
  }
}

TEST(Schedule, TextRoundTrips) {
  for (const Schedule& schedule : all_schedules(4, 8)) {
    const Schedule complete = insert_grad_reductions(insert_transfers(schedule));
    EXPECT_EQ(from_text(to_text(complete)), complete);
  }
  EXPECT_EQ(to_text(insert_transfers(make_one_f_one_b(2, 2))),
            "1f1b 2 2 0 1\n0F0,0SA0,0F1,0SA1,0RG0,0B0,0W0,0RG1,0B1,0W1\n"
            "1RA0,1F0,1B0,1SG0,1W0,1RA1,1F1,1B1,1SG1,1W1\n");
  EXPECT_THROW(from_text("x 1 1 0\n0Q0\n"), ScheduleError);
  EXPECT_THROW(from_text("x 2 1 0\n"), ScheduleError);
}

TEST(Schedule, DamageIsRejected) {
  std::mt19937 random(1);
  for (const Schedule& good : all_schedules(4, 8)) {
    const Schedule schedule = insert_transfers(good);
    for (int trial = 0; trial < 200; ++trial) {
      Schedule bad = schedule;
      auto& program = bad.program[random() % bad.program.size()];
      const std::size_t at = random() % program.size();
      switch (trial % 3) {
        case 0:
          program.erase(program.begin() + static_cast<std::ptrdiff_t>(at));
          break;
        case 1:
          program.insert(program.begin() + static_cast<std::ptrdiff_t>(at), program[at]);
          break;
        default:
          program[at].microbatch += 1;
          break;
      }
      EXPECT_THROW(validate(bad), ScheduleError) << to_text(bad);
    }
  }
}

TEST(Schedule, RefusesImpossibleSizes) {
  EXPECT_THROW(make_gpipe(0, 1), ScheduleError);
  EXPECT_THROW(make_interleaved_1f1b(4, 6, 2), ScheduleError);
  EXPECT_THROW(make_schedule("1f1b", 2, 4, 2), ScheduleError);
  EXPECT_THROW(make_schedule("nonsense", 2, 4, 1), ScheduleError);
}

TEST(SplitByCost, MinimisesTheLargestPart) {
  EXPECT_EQ(split_by_cost({1, 1, 1, 1}, 2), (std::vector<int>{2, 2}));
  EXPECT_EQ(split_by_cost({0.1, 1, 1, 1, 1, 2}, 2), (std::vector<int>{4, 2}));
  EXPECT_EQ(split_by_cost({5, 1, 1}, 3), (std::vector<int>{1, 1, 1}));
  EXPECT_THROW(split_by_cost({1}, 2), ScheduleError);
  std::mt19937 random(2);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> costs(7);
    for (double& cost : costs) cost = static_cast<double>(1 + random() % 9);
    const auto sizes = split_by_cost(costs, 3);
    const auto part = [&](int begin, int end) {
      return std::accumulate(costs.begin() + begin, costs.begin() + end, 0.0);
    };
    const double got = std::max(
        {part(0, sizes[0]), part(sizes[0], sizes[0] + sizes[1]), part(sizes[0] + sizes[1], 7)});
    double best = 1e9;
    for (int a = 1; a < 6; ++a) {
      for (int b = a + 1; b < 7; ++b)
        best = std::min(best, std::max({part(0, a), part(a, b), part(b, 7)}));
    }
    EXPECT_EQ(got, best);
  }
}

}  // namespace
}  // namespace frugal
