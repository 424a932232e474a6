// ZB-H1: weight gradients fill the gaps that 1F1B leaves. Built by running the pipeline in time:
// whenever a rank is free it takes the input gradient that is ready first, else a forward while
// 1F1B's warm-up and the memory of `ranks` micro-batches allow, else a weight gradient that waits.
// With F = B = W every time is a multiple of one unit, so nothing that is taken can delay what
// comes next, and the idle time of a rank is the (P - 1) F of filling plus what draining leaves
// after the weight gradients are moved into it.
#include <algorithm>
#include <limits>
#include <optional>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

struct RankState {
  int forwards = 0, inputs = 0, weights = 0;  // how many are done; each kind ascends by micro-batch
  double free_at = 0;
};

class Builder {
 public:
  Builder(Schedule& schedule, ActionCosts costs)
      : schedule_(schedule),
        costs_(costs),
        ranks_(schedule.ranks()),
        states_(static_cast<std::size_t>(ranks_)),
        forward_done_(static_cast<std::size_t>(ranks_)),
        input_done_(static_cast<std::size_t>(ranks_)) {}

  void build() {
    for (int step = 0; step < 3 * ranks_ * schedule_.microbatches; ++step) {
      Choice best;
      for (int rank = 0; rank < ranks_; ++rank) {
        const Choice choice = choose(rank);
        if (choice.start < best.start) best = choice;
      }
      take(best);
    }
  }

 private:
  struct Choice {
    int rank = 0;
    ActionKind kind{};
    double start = kNever;
  };

  double forward_ready(int rank) const {
    const RankState& state = states_[static_cast<std::size_t>(rank)];
    const int m = state.forwards;
    const bool in_flight = m - state.inputs >= ranks_ - rank;  // 1F1B's warm-up
    const bool full = m - state.weights >= ranks_;             // 1F1B's memory on the first rank
    if (m == schedule_.microbatches || in_flight || full) return kNever;
    if (rank == 0) return 0;
    const auto& before = forward_done_[static_cast<std::size_t>(rank - 1)];
    return m < static_cast<int>(before.size())
               ? before[static_cast<std::size_t>(m)] + costs_.transfer
               : kNever;
  }

  double input_ready(int rank) const {
    const RankState& state = states_[static_cast<std::size_t>(rank)];
    const int m = state.inputs;
    if (m >= state.forwards) return kNever;
    const double own = forward_done_[static_cast<std::size_t>(rank)][static_cast<std::size_t>(m)];
    if (rank == ranks_ - 1) return own;
    const auto& after = input_done_[static_cast<std::size_t>(rank + 1)];
    return m < static_cast<int>(after.size()) ? after[static_cast<std::size_t>(m)] + costs_.transfer
                                              : kNever;
  }

  Choice choose(int rank) const {
    const RankState& state = states_[static_cast<std::size_t>(rank)];
    Choice best{rank, ActionKind::kBackwardInput, std::max(state.free_at, input_ready(rank))};
    const double forward = std::max(state.free_at, forward_ready(rank));
    if (forward < best.start) best = {rank, ActionKind::kForward, forward};
    if (state.weights < state.inputs && state.free_at < best.start) {
      best = {rank, ActionKind::kBackwardWeight, state.free_at};
    }
    return best;
  }

  void take(const Choice& choice) {
    const auto rank = static_cast<std::size_t>(choice.rank);
    RankState& state = states_[rank];
    int microbatch = 0;
    switch (choice.kind) {
      case ActionKind::kForward:
        microbatch = state.forwards++;
        state.free_at = choice.start + costs_.forward;
        forward_done_[rank].push_back(state.free_at);
        break;
      case ActionKind::kBackwardInput:
        microbatch = state.inputs++;
        state.free_at = choice.start + costs_.backward_input;
        input_done_[rank].push_back(state.free_at);
        break;
      default:
        microbatch = state.weights++;
        state.free_at = choice.start + costs_.backward_weight;
    }
    schedule_.program[rank].push_back(
        {choice.kind, static_cast<std::int16_t>(choice.rank), microbatch});
  }

  Schedule& schedule_;
  ActionCosts costs_;
  int ranks_;
  std::vector<RankState> states_;
  std::vector<std::vector<double>> forward_done_, input_done_;  // by rank and micro-batch
};

}  // namespace

Schedule make_zero_bubble_h1(int ranks, int microbatches, ActionCosts costs) {
  Schedule out = make_one_f_one_b(ranks, microbatches);
  out.name = "zb_h1";
  for (auto& program : out.program) program.clear();
  Builder(out, costs).build();
  return out;
}

}  // namespace frugal
