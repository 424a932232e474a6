#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "trainer/schedule/schedule.h"
#include "trainer/schedule/text.h"

namespace frugal {
namespace {

using Key = std::tuple<ActionKind, int, int>;  // kind, stage, micro-batch

bool is_transfer(ActionKind kind) {
  return kind >= ActionKind::kSendActivation && kind <= ActionKind::kRecvGradient;
}
bool is_send(ActionKind kind) {
  return kind == ActionKind::kSendActivation || kind == ActionKind::kSendGradient;
}

// Both halves of a transfer have the same name: that of the send.
Key transfer_key(const Action& action) {
  switch (action.kind) {
    case ActionKind::kRecvActivation:
      return {ActionKind::kSendActivation, action.stage - 1, action.microbatch};
    case ActionKind::kRecvGradient:
      return {ActionKind::kSendGradient, action.stage + 1, action.microbatch};
    default:
      return {action.kind, action.stage, action.microbatch};
  }
}

struct Item {
  std::vector<Action> actions;  // one computation, or a group of transfers
  std::size_t place = 0;        // in the program
};

struct Queue {
  std::vector<Item> items;
  std::size_t head = 0;
  double free_at = 0;
  bool posted = false;  // the group at the head has started
  bool done() const { return head == items.size(); }
};

class Simulation {
 public:
  Simulation(const Schedule& schedule, const std::vector<ActionCosts>& costs, bool overlap)
      : schedule_(schedule), costs_(costs), overlap_(overlap) {
    for (const auto& program : schedule.program) add_rank(program);
  }

  ScheduleReport run() {
    report_.busy.assign(static_cast<std::size_t>(schedule_.ranks()), 0.0);
    report_.timeline.resize(static_cast<std::size_t>(schedule_.ranks()));
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t q = 0; q < queues_.size(); ++q) {
        while (!queues_[q].done() && step(queues_[q], static_cast<int>(q / queues_per_rank())))
          moved = true;
      }
    }
    check_finished();
    return report_;
  }

 private:
  std::size_t queues_per_rank() const { return overlap_ ? 2 : 1; }

  void add_rank(const std::vector<Action>& program) {
    const std::size_t first = queues_.size();
    queues_.resize(first + queues_per_rank());
    for (std::size_t i = 0; i < program.size();) {
      const bool transfers = is_transfer(program[i].kind);
      Item item{{program[i]}, i};
      ++i;
      while (transfers && i < program.size() && is_transfer(program[i].kind))
        item.actions.push_back(program[i++]);
      queues_[first + (overlap_ && transfers ? 1 : 0)].items.push_back(std::move(item));
    }
  }

  const ActionCosts& costs_of(int stage) const {
    return costs_.size() == 1 ? costs_.front() : costs_.at(static_cast<std::size_t>(stage));
  }
  bool local(int a, int b) const {
    return schedule_.rank_of_stage[static_cast<std::size_t>(a)] ==
           schedule_.rank_of_stage[static_cast<std::size_t>(b)];
  }
  std::optional<double> time_of(const std::map<Key, double>& times, const Key& key) const {
    const auto found = times.find(key);
    return found == times.end() ? std::nullopt : std::optional(found->second);
  }

  // When what the computation needs is there; nullopt: not known yet.
  std::optional<double> inputs_ready(const Action& action) const {
    const int s = action.stage, m = action.microbatch;
    switch (action.kind) {
      case ActionKind::kForward:
        if (s == 0) return 0.0;
        return local(s, s - 1) ? time_of(computed_, {ActionKind::kForward, s - 1, m})
                               : time_of(arrived_, {ActionKind::kSendActivation, s - 1, m});
      case ActionKind::kBackwardInput: {
        const auto own = time_of(computed_, {ActionKind::kForward, s, m});
        if (s == schedule_.stages - 1 || !own) return own;
        const auto gradient = local(s, s + 1)
                                  ? time_of(computed_, {ActionKind::kBackwardInput, s + 1, m})
                                  : time_of(arrived_, {ActionKind::kSendGradient, s + 1, m});
        return gradient ? std::optional(std::max(*own, *gradient)) : std::nullopt;
      }
      case ActionKind::kBackwardWeight:
        return time_of(computed_, {ActionKind::kBackwardInput, s, m});
      default:
        return 0.0;
    }
  }

  double cost_of(const Action& action) const {
    const ActionCosts& costs = costs_of(action.stage);
    switch (action.kind) {
      case ActionKind::kForward:
        return costs.forward;
      case ActionKind::kBackwardInput:
        return costs.backward_input;
      case ActionKind::kBackwardWeight:
        return costs.backward_weight;
      default:
        return 0.0;
    }
  }

  // Advances the head of a queue; false when it has to wait.
  bool step(Queue& queue, int rank) {
    const Item& item = queue.items[queue.head];
    if (is_transfer(item.actions.front().kind)) return step_group(queue, item);
    const Action& action = item.actions.front();
    const auto ready = inputs_ready(action);
    if (!ready) return false;
    queue.free_at = std::max(queue.free_at, *ready) + cost_of(action);
    computed_[{action.kind, action.stage, action.microbatch}] = queue.free_at;
    report_.busy[static_cast<std::size_t>(rank)] += cost_of(action);
    report_.timeline[static_cast<std::size_t>(rank)].push_back(
        {action, queue.free_at - cost_of(action), queue.free_at});
    report_.makespan = std::max(report_.makespan, queue.free_at);
    ++queue.head;
    return true;
  }

  bool step_group(Queue& queue, const Item& item) {
    if (!queue.posted) {
      double start = queue.free_at;
      for (const Action& action : item.actions) {
        if (!is_send(action.kind)) continue;
        const ActionKind made_by = action.kind == ActionKind::kSendActivation
                                       ? ActionKind::kForward
                                       : ActionKind::kBackwardInput;
        const auto made = time_of(computed_, {made_by, action.stage, action.microbatch});
        if (!made) return false;
        start = std::max(start, *made);
      }
      for (const Action& action : item.actions)
        (is_send(action.kind) ? sent_ : expected_)[transfer_key(action)] = start;
      queue.posted = true;
    }
    double end = queue.free_at;
    for (const Action& action : item.actions) {
      const Key key = transfer_key(action);
      const auto from = time_of(sent_, key), to = time_of(expected_, key);
      if (!from || !to) return false;
      arrived_[key] = std::max(*from, *to) + costs_of(std::get<1>(key)).transfer;
      end = std::max(end, arrived_[key]);
    }
    queue.free_at = end;
    queue.posted = false;
    ++queue.head;
    return true;
  }

  void check_finished() const {
    std::string stuck;
    for (std::size_t q = 0; q < queues_.size(); ++q) {
      if (queues_[q].done()) continue;
      const Item& item = queues_[q].items[queues_[q].head];
      stuck += "\n  rank " + std::to_string(q / queues_per_rank()) + " waits at place " +
               std::to_string(item.place) + " for";
      for (const Action& action : item.actions) stuck += " " + action_text(action);
    }
    if (!stuck.empty()) throw ScheduleError("schedule " + schedule_.name + " never ends:" + stuck);
  }

  const Schedule& schedule_;
  const std::vector<ActionCosts>& costs_;
  bool overlap_;
  std::vector<Queue> queues_;
  std::map<Key, double> computed_, sent_, expected_, arrived_;
  ScheduleReport report_;
};

// Counts one kind of memory along the programs.
class PeakCounter {
 public:
  explicit PeakCounter(int stages)
      : held_(static_cast<std::size_t>(stages)), peak_(static_cast<std::size_t>(stages)) {}
  void take(int stage) {
    auto& held = held_[static_cast<std::size_t>(stage)];
    peak_[static_cast<std::size_t>(stage)] =
        std::max(peak_[static_cast<std::size_t>(stage)], ++held);
  }
  void give(int stage) { --held_[static_cast<std::size_t>(stage)]; }
  const std::vector<int>& peak() const { return peak_; }

 private:
  std::vector<int> held_, peak_;
};

void count_peaks(const Schedule& schedule, ScheduleReport& report) {
  PeakCounter until_input(schedule.stages), until_weight(schedule.stages),
      input_to_weight(schedule.stages);
  for (const auto& program : schedule.program) {
    std::map<Key, bool> received;
    for (const Action& action : program) {
      const int s = action.stage;
      const Key key{action.kind, s, action.microbatch};
      switch (action.kind) {
        case ActionKind::kRecvActivation:
        case ActionKind::kForward:
          if (action.kind == ActionKind::kForward &&
              received.contains({ActionKind::kRecvActivation, s, action.microbatch}))
            break;
          received[key] = true;
          until_input.take(s);
          until_weight.take(s);
          break;
        case ActionKind::kRecvGradient:
        case ActionKind::kBackwardInput:
          if (!received.contains({ActionKind::kRecvGradient, s, action.microbatch}))
            input_to_weight.take(s);
          received[key] = true;
          if (action.kind == ActionKind::kBackwardInput) until_input.give(s);
          break;
        case ActionKind::kBackwardWeight:
          until_weight.give(s);
          input_to_weight.give(s);
          break;
        default:
          break;
      }
    }
  }
  report.peak_until_input = until_input.peak();
  report.peak_until_weight = until_weight.peak();
  report.peak_input_to_weight = input_to_weight.peak();
}

}  // namespace

double ScheduleReport::bubble() const {
  double working = 0;
  for (const double time : busy) working += time;
  const double whole = makespan * static_cast<double>(busy.size());
  return whole > 0 ? 1.0 - working / whole : 0.0;
}

ScheduleReport simulate(const Schedule& schedule, const std::vector<ActionCosts>& stage_costs,
                        bool overlap) {
  ScheduleReport report = Simulation(schedule, stage_costs, overlap).run();
  count_peaks(schedule, report);
  return report;
}

}  // namespace frugal
