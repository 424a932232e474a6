#include <algorithm>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

bool on_other_rank(const Schedule& schedule, int stage, int neighbour) {
  if (neighbour < 0 || neighbour >= schedule.stages) return false;
  return schedule.rank_of_stage[static_cast<std::size_t>(stage)] !=
         schedule.rank_of_stage[static_cast<std::size_t>(neighbour)];
}

bool is_transfer(ActionKind kind) {
  return kind >= ActionKind::kSendActivation && kind <= ActionKind::kRecvGradient;
}

// With several stages on a rank the pipeline is a ring, in which a rank that sends a gradient and
// computes before it receives the next can be waited for in a circle. There a gradient is received
// before the weight gradients that stand between it and the transfer before.
void hoist_gradient_receives(std::vector<Action>& program) {
  for (std::size_t i = 1; i < program.size(); ++i) {
    if (program[i].kind != ActionKind::kRecvGradient) continue;
    std::size_t to = i;
    while (to > 0 && program[to - 1].kind == ActionKind::kBackwardWeight) --to;
    if (to == 0 || !is_transfer(program[to - 1].kind)) continue;
    std::rotate(program.begin() + static_cast<std::ptrdiff_t>(to),
                program.begin() + static_cast<std::ptrdiff_t>(i),
                program.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
}

}  // namespace

Schedule insert_transfers(Schedule compute_only) {
  for (auto& program : compute_only.program) {
    std::vector<Action> out;
    for (const Action& action : program) {
      const auto add = [&](ActionKind kind, int neighbour) {
        if (on_other_rank(compute_only, action.stage, neighbour))
          out.push_back({kind, action.stage, action.microbatch});
      };
      if (action.kind == ActionKind::kForward) {
        add(ActionKind::kRecvActivation, action.stage - 1);
        out.push_back(action);
        add(ActionKind::kSendActivation, action.stage + 1);
      } else if (action.kind == ActionKind::kBackwardInput) {
        add(ActionKind::kRecvGradient, action.stage + 1);
        out.push_back(action);
        add(ActionKind::kSendGradient, action.stage - 1);
      } else {
        out.push_back(action);
      }
    }
    if (compute_only.stages > compute_only.ranks()) hoist_gradient_receives(out);
    program = std::move(out);
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
