#include <map>
#include <string>
#include <utility>

#include "trainer/schedule/schedule.h"
#include "trainer/schedule/text.h"

namespace frugal {
namespace {

[[noreturn]] void reject(const Schedule& schedule, int rank, std::size_t place,
                         const std::string& why) {
  std::string text = "schedule " + schedule.name + ": " + why + "\n";
  for (int r = 0; r < schedule.ranks(); ++r) {
    const auto& program = schedule.program[static_cast<std::size_t>(r)];
    text += "  rank " + std::to_string(r) + ": ";
    for (std::size_t i = 0; i < program.size(); ++i) {
      const bool here = r == rank && i == place;
      text += (i > 0 ? " " : "") +
              (here ? ">>" + action_text(program[i]) + "<<" : action_text(program[i]));
    }
    text += "\n";
  }
  throw ScheduleError(text);
}

// Everything that can be said of one rank's program by itself.
class RankCheck {
 public:
  RankCheck(const Schedule& schedule, int rank)
      : schedule_(schedule),
        rank_(rank),
        program_(schedule.program[static_cast<std::size_t>(rank)]) {}

  void run() {
    for (place_ = 0; place_ < program_.size(); ++place_) {
      const Action& action = program_[place_];
      check_stage(action);
      if (action.kind < ActionKind::kGatherParams) {
        check_microbatch(action);
        check_needs(action);
      } else if (action.microbatch != -1) {
        bad("is of no micro-batch");
      } else if (action.kind == ActionKind::kReduceGrads) {
        check_reduction(action);
      }
    }
    check_all_done();
  }

 private:
  [[noreturn]] void bad(const std::string& why) const {
    reject(schedule_, rank_, place_, action_text(program_[place_]) + " " + why);
  }
  int rank_of(int stage) const { return schedule_.rank_of_stage[static_cast<std::size_t>(stage)]; }
  // How many micro-batches a kind of a stage has passed; each kind ascends.
  int& passed(ActionKind kind, int stage) { return passed_[{kind, stage}]; }
  void need(const Action& action, ActionKind kind, const char* otherwise) {
    if (passed(kind, action.stage) <= action.microbatch) bad(otherwise);
  }

  void check_stage(const Action& action) const {
    if (action.stage < 0 || action.stage >= schedule_.stages)
      bad("names a stage that does not exist");
    if (rank_of(action.stage) != rank_) bad("belongs to another rank");
  }

  void check_reduction(const Action& action) {
    if (passed(ActionKind::kBackwardWeight, action.stage) != schedule_.microbatches)
      bad("comes before the last weight gradient of its stage");
    if (++passed(action.kind, action.stage) > 1) bad("comes twice");
  }

  void check_microbatch(const Action& action) {
    if (action.microbatch < 0 || action.microbatch >= schedule_.microbatches)
      bad("names a micro-batch that does not exist");
    if (action.microbatch != passed(action.kind, action.stage)++)
      bad("is out of order: each kind ascends by micro-batch");
  }

  void check_needs(const Action& action) {
    switch (action.kind) {
      case ActionKind::kBackwardInput:
        return need(action, ActionKind::kForward, "comes before its forward");
      case ActionKind::kBackwardWeight:
        need(action, ActionKind::kBackwardInput, "comes before its input gradient");
        // The input gradient lies in memory that the weight gradient gives back.
        if (action.stage > 0 && rank_of(action.stage - 1) != rank_)
          need(action, ActionKind::kSendGradient, "comes before its input gradient is sent");
        return;
      case ActionKind::kSendActivation:
        return need(action, ActionKind::kForward, "sends what is not computed");
      case ActionKind::kSendGradient:
        return need(action, ActionKind::kBackwardInput, "sends what is not computed");
      default:
        return;
    }
  }

  void check_all_done() {
    for (int stage = 0; stage < schedule_.stages; ++stage) {
      if (rank_of(stage) != rank_) continue;
      for (const auto kind :
           {ActionKind::kForward, ActionKind::kBackwardInput, ActionKind::kBackwardWeight}) {
        if (passed(kind, stage) == schedule_.microbatches) continue;
        reject(schedule_, rank_, program_.size(),
               "rank " + std::to_string(rank_) + " lacks " +
                   action_text({kind, static_cast<std::int16_t>(stage), passed(kind, stage)}));
      }
    }
  }

  const Schedule& schedule_;
  int rank_;
  const std::vector<Action>& program_;
  std::size_t place_ = 0;
  std::map<std::pair<ActionKind, int>, int> passed_;
};

// Reductions are of all stages or, before that pass, of none.
void check_reductions(const Schedule& schedule) {
  int count = 0;
  for (const auto& program : schedule.program) {
    for (const Action& action : program) count += action.kind == ActionKind::kReduceGrads ? 1 : 0;
  }
  if (count == 0 || count == schedule.stages) return;
  reject(schedule, -1, 0,
         std::to_string(count) + " of " + std::to_string(schedule.stages) +
             " stages reduce their gradients");
}

}  // namespace

void validate(const Schedule& schedule) {
  for (int rank = 0; rank < schedule.ranks(); ++rank) RankCheck(schedule, rank).run();
  check_reductions(schedule);
  // A transfer without its other half, or needed and not there, never ends.
  for (const bool overlap : {true, false}) simulate(schedule, {ActionCosts{}}, overlap);
}

}  // namespace frugal
