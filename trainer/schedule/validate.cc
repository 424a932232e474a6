#include <map>
#include <tuple>

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
void check_rank(const Schedule& schedule, int rank) {
  const auto& program = schedule.program[static_cast<std::size_t>(rank)];
  std::map<std::pair<ActionKind, int>, int>
      next;  // the micro-batch that each kind of a stage comes to next
  for (std::size_t i = 0; i < program.size(); ++i) {
    const Action& action = program[i];
    const auto bad = [&](const std::string& why) {
      reject(schedule, rank, i, action_text(action) + " " + why);
    };
    if (action.stage < 0 || action.stage >= schedule.stages)
      bad("names a stage that does not exist");
    if (schedule.rank_of_stage[static_cast<std::size_t>(action.stage)] != rank)
      bad("belongs to another rank");
    if (action.kind >= ActionKind::kGatherParams) continue;
    if (action.microbatch < 0 || action.microbatch >= schedule.microbatches)
      bad("names a micro-batch that does not exist");
    if (action.microbatch != next[{action.kind, action.stage}]++)
      bad("is out of order: each kind ascends by micro-batch");
    const auto done = [&](ActionKind kind) {
      return next[{kind, action.stage}] > action.microbatch;
    };
    if (action.kind == ActionKind::kBackwardInput && !done(ActionKind::kForward))
      bad("comes before its forward");
    if (action.kind == ActionKind::kBackwardWeight && !done(ActionKind::kBackwardInput))
      bad("comes before its input gradient");
    if (action.kind == ActionKind::kSendActivation && !done(ActionKind::kForward))
      bad("sends what is not computed");
    if (action.kind == ActionKind::kSendGradient && !done(ActionKind::kBackwardInput))
      bad("sends what is not computed");
  }
  for (int stage = 0; stage < schedule.stages; ++stage) {
    if (schedule.rank_of_stage[static_cast<std::size_t>(stage)] != rank) continue;
    for (const auto kind :
         {ActionKind::kForward, ActionKind::kBackwardInput, ActionKind::kBackwardWeight}) {
      if (next[{kind, stage}] == schedule.microbatches) continue;
      reject(schedule, rank, program.size(),
             "rank " + std::to_string(rank) + " lacks " +
                 action_text({kind, static_cast<std::int16_t>(stage), next[{kind, stage}]}));
    }
  }
}

}  // namespace

void validate(const Schedule& schedule) {
  for (int rank = 0; rank < schedule.ranks(); ++rank) check_rank(schedule, rank);
  // A transfer without its other half, or needed and not there, never ends.
  for (const bool overlap : {true, false}) simulate(schedule, {ActionCosts{}}, overlap);
}

}  // namespace frugal
