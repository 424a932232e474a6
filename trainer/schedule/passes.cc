#include <algorithm>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

bool on_other_rank(const Schedule& schedule, int stage, int neighbour) {
  if (neighbour < 0 || neighbour >= schedule.stages) return false;
  return schedule.rank_of_stage[static_cast<std::size_t>(stage)] !=
         schedule.rank_of_stage[static_cast<std::size_t>(neighbour)];
}

// The transfers of one rank's computations.
class TransferInserter {
 public:
  TransferInserter(const Schedule& schedule, const std::vector<Action>& program)
      : schedule_(schedule), program_(program) {}

  // Receives right before the computation that needs them.
  std::vector<Action> late_receives() {
    for (const Action& action : program_) {
      receive(action);
      out_.push_back(action);
      send(action);
    }
    return std::move(out_);
  }

  // With several stages on a rank the pipeline is a ring, in which ranks that send, then compute,
  // then receive can wait for each other in a circle. There a computation's send is grouped with
  // the receive for the next computation of its kind: one micro-batch more is held.
  std::vector<Action> early_receives() {
    for (std::size_t i = 0; i < program_.size(); ++i) {
      if (is_first(i)) receive(program_[i]);
      out_.push_back(program_[i]);
      send(program_[i]);
      const auto next =
          std::find_if(program_.begin() + static_cast<std::ptrdiff_t>(i) + 1, program_.end(),
                       [&](const Action& other) { return other.kind == program_[i].kind; });
      if (next != program_.end()) receive(*next);
    }
    return std::move(out_);
  }

 private:
  bool is_first(std::size_t i) const {
    return std::none_of(program_.begin(), program_.begin() + static_cast<std::ptrdiff_t>(i),
                        [&](const Action& other) { return other.kind == program_[i].kind; });
  }
  void add(ActionKind kind, const Action& action, int neighbour) {
    if (on_other_rank(schedule_, action.stage, neighbour))
      out_.push_back({kind, action.stage, action.microbatch});
  }
  void receive(const Action& action) {
    if (action.kind == ActionKind::kForward)
      add(ActionKind::kRecvActivation, action, action.stage - 1);
    if (action.kind == ActionKind::kBackwardInput)
      add(ActionKind::kRecvGradient, action, action.stage + 1);
  }
  void send(const Action& action) {
    if (action.kind == ActionKind::kForward)
      add(ActionKind::kSendActivation, action, action.stage + 1);
    if (action.kind == ActionKind::kBackwardInput)
      add(ActionKind::kSendGradient, action, action.stage - 1);
  }

  const Schedule& schedule_;
  const std::vector<Action>& program_;
  std::vector<Action> out_;
};

}  // namespace

Schedule insert_transfers(Schedule compute_only) {
  const bool ring = compute_only.stages > compute_only.ranks();
  for (auto& program : compute_only.program) {
    TransferInserter inserter(compute_only, program);
    program = ring ? inserter.early_receives() : inserter.late_receives();
  }
  return compute_only;
}

Schedule insert_grad_reductions(Schedule schedule) {
  for (auto& program : schedule.program) {
    std::vector<Action> out;
    for (const Action& action : program) {
      out.push_back(action);
      if (action.kind == ActionKind::kBackwardWeight &&
          action.microbatch == schedule.microbatches - 1) {
        out.push_back({ActionKind::kReduceGrads, action.stage, -1});
      }
    }
    program = std::move(out);
  }
  return schedule;
}

}  // namespace frugal
