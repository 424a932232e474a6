// A pipeline schedule is data: a list of actions per rank. Small generators make it, passes
// complete it, a validator checks it, a simulator prices it, text stores it. Standard library only;
// knows nothing of tensors.
#pragma once

#include <compare>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace frugal {

enum class ActionKind : std::uint8_t {
  kForward,
  kBackwardInput,
  kBackwardWeight,
  kSendActivation,
  kRecvActivation,
  kSendGradient,
  kRecvGradient,
  kGatherParams,
  kReleaseParams,
  kReduceGrads,
};

// stage: the stage that acts; for transfers the own stage too (a send of stage s goes to s+1 or
// s-1, a receive comes from there). microbatch: index within this pipeline, from 0; -1 where it
// means nothing (gather, release, reduce).
struct Action {
  ActionKind kind{};
  std::int16_t stage = 0;
  std::int32_t microbatch = 0;
  auto operator<=>(const Action&) const = default;
};

struct Schedule {
  std::string name;
  int stages = 0;
  int microbatches = 0;
  std::vector<int> rank_of_stage;  // several stages may share a rank (interleaved, V shapes)
  std::vector<std::vector<Action>> program;  // one list per rank, in issue order
  int ranks() const { return static_cast<int>(program.size()); }
  bool operator==(const Schedule&) const = default;
};

// A schedule that cannot be, or a request for one. The message names the rank, the place in its
// program and the action.
class ScheduleError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Relative durations of one micro-batch in one stage. Every backward of a micro-batch is two
// actions; a schedule that does not split them issues the weight part right after the input part.
struct ActionCosts {
  double forward = 1, backward_input = 1, backward_weight = 1, transfer = 0;
};

// Generators. stages = ranks except where said. All backwards and all weight gradients of a stage
// come in micro-batch order (gradients are summed in that order). Throw ScheduleError when sizes
// make no sense.
Schedule make_gpipe(int ranks, int microbatches);
Schedule make_one_f_one_b(int ranks, int microbatches);
// `chunks` stages per rank, stage s on rank s % ranks. REQUIRES: microbatches divisible by ranks.
Schedule make_interleaved_1f1b(int ranks, int microbatches, int chunks);
// ZB-H1 (Qi et al., arXiv 2401.10241): bubble (P-1)(F+B-2W), the peak memory of 1F1B; exact when
// F=B=W and microbatches >= ranks.
Schedule make_zero_bubble_h1(int ranks, int microbatches, ActionCosts costs = {});
// By its name in the config: gpipe, 1f1b, interleaved_1f1b, zb_h1. chunks is used by
// interleaved_1f1b alone.
Schedule make_schedule(std::string_view name, int ranks, int microbatches, int chunks);
std::vector<std::string> schedule_names();

// The forwards alone, for evaluation.
Schedule make_forward_only(int ranks, int stages_per_rank, int microbatches);

// Passes.
// Adds sends right behind and receives right before the computation, where neighbouring stages live
// on different ranks. A run of consecutive transfers in a program is one group: all of it starts
// together, without order inside, so that two neighbours that both send do not wait for each other.
Schedule insert_transfers(Schedule compute_only);
// Adds one kReduceGrads per stage, right after that stage's last weight gradient.
Schedule insert_grad_reductions(Schedule schedule);

// Throws ScheduleError unless: every stage does forward, input and weight gradient of every
// micro-batch exactly once, in an order that respects dependencies within a rank; each kind of a
// stage ascends by micro-batch; an input gradient is sent before the weight gradient, which gives
// its memory back; transfers match one to one; gradients are reduced once, after the last weight
// gradient, by all stages or by none; simulate() finishes with overlap on and off.
void validate(const Schedule& schedule);

struct TimedAction {
  Action action;
  double begin = 0, end = 0;
};

struct ScheduleReport {
  double makespan = 0;
  std::vector<std::vector<TimedAction>> timeline;  // the computations, by rank
  std::vector<double> busy;                        // computing time, by rank
  // Largest number of micro-batches that a stage holds at once, by stage, in the order of its
  // rank's program: memory is taken and given back in that order, and a receive takes it too.
  std::vector<int> peak_until_input;   // from the forward (or its receive) to the input gradient
  std::vector<int> peak_until_weight;  // from the forward (or its receive) to the weight gradient
  std::vector<int>
      peak_input_to_weight;  // from the input gradient (or its receive) to the weight gradient
  double bubble() const;     // share of makespan * ranks that no rank computes in
};

// Dry run of all ranks; a send completes only with its receive (the strictest rule of any
// transport). overlap = false puts computation and transfers of a rank on one queue, as inline
// streams do. stage_costs: one entry for all stages, or one per stage. Throws ScheduleError on
// deadlock, naming who waits for what.
ScheduleReport simulate(const Schedule& schedule, const std::vector<ActionCosts>& stage_costs,
                        bool overlap = true);

// "0F0,0SA0,1RA0,..." (stage, kind, micro-batch), one line per rank after a header line;
// round-trips. Kinds: text.cc.
std::string to_text(const Schedule& schedule);
Schedule from_text(std::string_view text);  // throws ScheduleError with line and column

// The timeline for people, one line per rank, three columns a unit of time: F for forward, b for
// input gradient, w for weight gradient, each with its micro-batch, '.' where the rank waits. Cut
// at `width` columns.
std::string draw(const ScheduleReport& report, int width);

// Splits layers into `stages` consecutive, non-empty parts so that the most expensive part is as
// cheap as possible; among equals the split whose parts are most alike. Returns the number of
// layers in each. REQUIRES: stages <= costs.size().
std::vector<int> split_by_cost(const std::vector<double>& layer_costs, int stages);

}  // namespace frugal
