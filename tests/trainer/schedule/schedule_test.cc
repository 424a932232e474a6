#include <gtest/gtest.h>

#include <algorithm>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

const std::vector<ActionCosts> kUnit{ActionCosts{}};

Schedule complete(const Schedule& schedule) {
  return insert_grad_reductions(insert_transfers(schedule));
}

std::vector<Schedule> all_schedules(int ranks, int microbatches) {
  std::vector<Schedule> out{make_gpipe(ranks, microbatches), make_one_f_one_b(ranks, microbatches),
                            make_zero_bubble_h1(ranks, microbatches)};
  if (microbatches % ranks == 0) {
    out.push_back(make_interleaved_1f1b(ranks, microbatches, 2));
    out.push_back(make_interleaved_1f1b(ranks, microbatches, 3));
  }
  return out;
}

int largest(const std::vector<int>& counts) {
  return *std::max_element(counts.begin(), counts.end());
}

// Visits 1 to 8 ranks x 1 to 32 micro-batches.
template <class Visit>
void for_every_size(const Visit& visit) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int microbatches = 1; microbatches <= 32; ++microbatches) {
      SCOPED_TRACE(std::to_string(ranks) + " ranks, " + std::to_string(microbatches) +
                   " micro-batches");
      visit(ranks, microbatches);
    }
  }
}

TEST(Schedule, EveryGeneratorIsValidAtEverySize) {
  for_every_size([](int ranks, int microbatches) {
    for (const Schedule& schedule : all_schedules(ranks, microbatches)) {
      ASSERT_NO_THROW(validate(complete(schedule))) << schedule.name;
    }
    for (const int chunks : {1, 2}) {
      const auto forwards = insert_transfers(make_forward_only(ranks, chunks, microbatches));
      ASSERT_NO_THROW(simulate(forwards, kUnit, false));
    }
  });
}

// Lengths in units of F = B = W, B being the input gradient alone.
TEST(Schedule, LengthsAreThoseOfTheory) {
  for_every_size([](int ranks, int microbatches) {
    const auto length = [](const Schedule& schedule) {
      return simulate(complete(schedule), kUnit).makespan;
    };
    const double work = 3.0 * microbatches;
    // (P-1)(F+B): a gradient is sent on before the weight gradient is made.
    EXPECT_EQ(length(make_gpipe(ranks, microbatches)), work + 2.0 * (ranks - 1));
    // With fewer micro-batches than ranks the last backward is the last of GPipe.
    EXPECT_EQ(length(make_one_f_one_b(ranks, microbatches)), work + 2.0 * (ranks - 1));
    // (P-1)(F+B-2W) with B the whole backward, which is 2 here.
    const double zero = length(make_zero_bubble_h1(ranks, microbatches));
    if (microbatches >= ranks) {
      EXPECT_EQ(zero, work + 1.0 * (ranks - 1));
    } else {
      EXPECT_LE(zero, work + 2.0 * (ranks - 1));
    }
    if (microbatches % ranks != 0) return;
    // Each of `chunks` stages on a rank is a chunk of the whole, so the bubble is as many units as
    // without chunks, each of them that much shorter.
    for (const int chunks : {2, 3}) {
      EXPECT_LE(length(make_interleaved_1f1b(ranks, microbatches, chunks)),
                chunks * work + 3.0 * (ranks - 1));
    }
  });
}

TEST(Schedule, MemoryIsThatOfTheory) {
  for_every_size([](int ranks, int microbatches) {
    const auto held = [](const Schedule& schedule) {
      return simulate(complete(schedule), kUnit).peak_until_weight;
    };
    EXPECT_EQ(held(make_gpipe(ranks, microbatches)),
              std::vector<int>(static_cast<std::size_t>(ranks), microbatches));
    const std::vector<int> one = held(make_one_f_one_b(ranks, microbatches));
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(one[static_cast<std::size_t>(rank)], std::min(microbatches, ranks - rank));
    }
    // ZB-H1 delays weight gradients on later ranks, up to what 1F1B holds on the first.
    EXPECT_LE(largest(held(make_zero_bubble_h1(ranks, microbatches))), largest(one));
    if (microbatches % ranks != 0) return;
    // A stage comes back to its backward after the others have had their turn: two rounds of
    // micro-batches.
    for (const int chunks : {2, 3}) {
      EXPECT_LE(largest(held(make_interleaved_1f1b(ranks, microbatches, chunks))),
                std::min(microbatches, 2 * ranks));
    }
  });
}

// The slowest stage alone sets the pace, once the pipeline is full.
TEST(Schedule, UnevenStagesArePriced) {
  const Schedule schedule = complete(make_one_f_one_b(3, 16));
  const std::vector<ActionCosts> costs{{1, 1, 1}, {2, 2, 2}, {1, 1, 1}};
  const ScheduleReport report = simulate(schedule, costs);
  EXPECT_EQ(report.busy, (std::vector<double>{48, 96, 48}));
  EXPECT_GE(report.makespan, 96.0 + 1.0);  // the first stage's forward comes before
  EXPECT_LE(report.makespan, 96.0 + 8.0);
  EXPECT_DOUBLE_EQ(report.bubble(), 1.0 - 192.0 / (3.0 * report.makespan));
}

TEST(Schedule, TextRoundTrips) {
  for (const Schedule& schedule : all_schedules(4, 8)) {
    EXPECT_EQ(from_text(to_text(complete(schedule))), complete(schedule));
  }
  EXPECT_EQ(to_text(insert_transfers(make_one_f_one_b(2, 2))),
            "1f1b 2 2 0 1\n0F0,0SA0,0F1,0SA1,0RG0,0B0,0W0,0RG1,0B1,0W1\n"
            "1RA0,1F0,1B0,1SG0,1W0,1RA1,1F1,1B1,1SG1,1W1\n");
  EXPECT_THROW(from_text("x 1 1 0\n0Q0\n"), ScheduleError);
  EXPECT_THROW(from_text("x 2 1 0\n"), ScheduleError);
}

TEST(Schedule, RefusesImpossibleSizes) {
  EXPECT_THROW(make_gpipe(0, 1), ScheduleError);
  EXPECT_THROW(make_interleaved_1f1b(4, 6, 2), ScheduleError);
  EXPECT_THROW(make_schedule("1f1b", 2, 4, 2), ScheduleError);
  EXPECT_THROW(make_schedule("nonsense", 2, 4, 1), ScheduleError);
}

}  // namespace
}  // namespace frugal
