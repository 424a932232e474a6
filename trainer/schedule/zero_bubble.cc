// ZB-H1: forwards and input gradients in 1F1B's order, weight gradients in the gaps. Built by
// running the pipeline in time: a rank whose next computation has not got its input yet, or would
// exceed the memory of `ranks` micro-batches, makes a weight gradient that waits instead. With F =
// B = W all times are multiples of one unit, so a weight gradient in a gap delays nothing: what
// stays idle on a rank is P - 1 units.
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

  // When the input of the rank's next forward is there.
  double forward_ready(int rank) const {
    const int m = states_[static_cast<std::size_t>(rank)].forwards;
    if (rank == 0) return 0;
    const auto& before = forward_done_[static_cast<std::size_t>(rank - 1)];
    return m < static_cast<int>(before.size())
               ? before[static_cast<std::size_t>(m)] + costs_.transfer
               : kNever;
  }

  // When the gradient for the rank's next input gradient is there.
  double input_ready(int rank) const {
    const int m = states_[static_cast<std::size_t>(rank)].inputs;
    if (rank == ranks_ - 1)
      return forward_done_[static_cast<std::size_t>(rank)][static_cast<std::size_t>(m)];
    const auto& after = input_done_[static_cast<std::size_t>(rank) + 1];
    return m < static_cast<int>(after.size()) ? after[static_cast<std::size_t>(m)] + costs_.transfer
                                              : kNever;
  }

  Choice choose(int rank) const {
    const RankState& state = states_[static_cast<std::size_t>(rank)];
    const bool forwards_left = state.forwards < schedule_.microbatches;
    const bool forward_next = forwards_left && state.forwards - state.inputs < ranks_ - rank;
    const bool full = state.forwards - state.weights >= ranks_;
    Choice best{rank, ActionKind::kForward, kNever};
    if (forward_next && !full) {
      best.start = std::max(state.free_at, forward_ready(rank));
    } else if (!forward_next && state.inputs < state.forwards) {
      best = {rank, ActionKind::kBackwardInput, std::max(state.free_at, input_ready(rank))};
    }
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
