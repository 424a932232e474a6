// A damaged schedule does not pass validate().
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

class Damage {
 public:
  Damage(Schedule schedule, std::uint32_t seed) : bad_(std::move(schedule)), random_(seed) {}

  // One kind of damage somewhere; nullopt where it happens to change nothing that matters.
  using Kind = bool (Damage::*)();
  bool drop() {
    auto& program = any_program();
    program.erase(place(program, any(program)));
    return true;
  }
  bool duplicate() {
    auto& program = any_program();
    const Action action = program[any(program)];
    program.insert(place(program, any(program)), action);
    return true;
  }
  // To the other place by the order of its own stage: before what it needs, or after what needs it.
  bool swap_dependent() {
    auto& program = any_program();
    const std::size_t at = any(program);
    const auto other =
        std::find_if(place(program, at) + 1, program.end(), [&](const Action& later) {
          return later.stage == program[at].stage && later.microbatch == program[at].microbatch;
        });
    if (other == program.end() || same_group(program, at, other)) return false;
    std::swap(program[at], *other);
    return true;
  }
  bool swap_microbatches() {
    auto& program = any_program();
    const std::size_t at = any(program);
    const auto other =
        std::find_if(place(program, at) + 1, program.end(), [&](const Action& later) {
          return later.stage == program[at].stage && later.kind == program[at].kind;
        });
    if (other == program.end()) return false;
    std::swap(program[at], *other);
    return true;
  }
  // A first forward or first receive to the end: whatever needs it comes before it.
  bool move_to_end() {
    auto& program = any_program();
    const std::size_t at = any(program);
    if (program[at].kind == ActionKind::kBackwardWeight ||
        program[at].kind == ActionKind::kSendActivation ||
        program[at].kind == ActionKind::kSendGradient) {
      return false;  // the last of them may well be there
    }
    std::rotate(place(program, at), place(program, at) + 1, program.end());
    return true;
  }
  bool retarget_microbatch() {
    auto& program = any_program();
    program[any(program)].microbatch += random_() % 2 == 0 ? 1 : -1;
    return true;
  }
  bool retarget_stage() {
    auto& program = any_program();
    program[any(program)].stage += random_() % 2 == 0 ? 1 : -1;
    return true;
  }
  bool turn_transfer() {
    auto& program = any_program();
    Action& action = program[any(program)];
    switch (action.kind) {
      case ActionKind::kSendActivation:
        action.kind = ActionKind::kRecvGradient;
        return true;
      case ActionKind::kRecvActivation:
        action.kind = ActionKind::kSendGradient;
        return true;
      case ActionKind::kSendGradient:
        action.kind = ActionKind::kSendActivation;
        return true;
      case ActionKind::kRecvGradient:
        action.kind = ActionKind::kRecvActivation;
        return true;
      default:
        return false;
    }
  }
  bool to_other_rank() {
    auto& from = any_program();
    auto& to = any_program();
    if (&from == &to) return false;
    const std::size_t at = any(from);
    to.insert(place(to, any(to)), from[at]);
    from.erase(place(from, at));
    return true;
  }

  const Schedule& bad() const { return bad_; }

 private:
  using Program = std::vector<Action>;
  Program& any_program() { return bad_.program[random_() % bad_.program.size()]; }
  std::size_t any(const Program& program) { return random_() % program.size(); }
  static Program::iterator place(Program& program, std::size_t at) {
    return program.begin() + static_cast<std::ptrdiff_t>(at);
  }
  static bool is_transfer(const Action& action) {
    return action.kind >= ActionKind::kSendActivation && action.kind <= ActionKind::kRecvGradient;
  }
  // Transfers of one group start together: their order means nothing.
  static bool same_group(Program& program, std::size_t at, Program::iterator other) {
    return std::all_of(place(program, at), other + 1, is_transfer);
  }

  Schedule bad_;
  std::mt19937 random_;
};

TEST(Schedule, DamageIsRejected) {
  const std::vector<std::pair<const char*, Damage::Kind>> kinds{
      {"drop", &Damage::drop},
      {"duplicate", &Damage::duplicate},
      {"swap of dependent actions", &Damage::swap_dependent},
      {"swap of micro-batches", &Damage::swap_microbatches},
      {"move to the end", &Damage::move_to_end},
      {"another micro-batch", &Damage::retarget_microbatch},
      {"another stage", &Damage::retarget_stage},
      {"a transfer turned round", &Damage::turn_transfer},
      {"move to another rank", &Damage::to_other_rank}};
  std::uint32_t seed = 0;
  for (const auto& [name, microbatches] :
       {std::pair{"gpipe", 5}, {"1f1b", 7}, {"zb_h1", 7}, {"interleaved_1f1b", 8}}) {
    const int chunks = std::string(name) == "interleaved_1f1b" ? 2 : 1;
    const Schedule good =
        insert_grad_reductions(insert_transfers(make_schedule(name, 4, microbatches, chunks)));
    ASSERT_NO_THROW(validate(good));
    for (const auto& [what, kind] : kinds) {
      int tried = 0;
      for (int trial = 0; trial < 100; ++trial) {
        Damage damage(good, ++seed);
        if (!(damage.*kind)() || damage.bad() == good) continue;
        ++tried;
        EXPECT_THROW(validate(damage.bad()), ScheduleError) << what << "\n"
                                                            << to_text(damage.bad());
      }
      EXPECT_GT(tried, 15) << name << ": " << what;
    }
  }
}

}  // namespace
}  // namespace frugal
