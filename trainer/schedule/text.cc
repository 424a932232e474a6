// Line 1: name, stages, micro-batches, then the rank of every stage. One line per rank follows: its
// actions, separated by commas. F forward, B input gradient, W weight gradient, SA RA send and
// receive an activation, SG RG a gradient, GP RP gather and release parameters, RD reduce
// gradients.
#include "trainer/schedule/text.h"

#include <array>
#include <sstream>

namespace frugal {
namespace {

constexpr std::array<std::string_view, 10> kNames{"F",  "B",  "W",  "SA", "RA",
                                                  "SG", "RG", "GP", "RP", "RD"};

Action parse_action(const std::string& text, const std::string& where) {
  std::size_t at = 0;
  const auto digits = [&]() -> std::string {
    const std::size_t begin = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return text.substr(begin, at - begin);
  };
  const std::string stage = digits();
  const std::size_t begin = at;
  while (at < text.size() && text[at] >= 'A' && text[at] <= 'Z') ++at;
  const std::string kind = text.substr(begin, at - begin);
  const std::string microbatch = digits();
  for (std::size_t k = 0; k < kNames.size(); ++k) {
    if (kNames[k] != kind || stage.empty() || stage.size() > 4 || microbatch.size() > 9 ||
        at != text.size())
      continue;
    return {static_cast<ActionKind>(k), static_cast<std::int16_t>(std::stoi(stage)),
            microbatch.empty() ? -1 : std::stoi(microbatch)};
  }
  throw ScheduleError(where + ": '" + text + "' is not an action such as 0F3");
}

}  // namespace

std::string action_text(const Action& action) {
  std::string out =
      std::to_string(action.stage) + std::string(kNames[static_cast<std::size_t>(action.kind)]);
  if (action.microbatch >= 0) out += std::to_string(action.microbatch);
  return out;
}

std::string to_text(const Schedule& schedule) {
  std::string out = schedule.name + " " + std::to_string(schedule.stages) + " " +
                    std::to_string(schedule.microbatches);
  for (const int rank : schedule.rank_of_stage) out += " " + std::to_string(rank);
  out += "\n";
  for (const auto& program : schedule.program) {
    for (std::size_t i = 0; i < program.size(); ++i)
      out += (i > 0 ? "," : "") + action_text(program[i]);
    out += "\n";
  }
  return out;
}

Schedule from_text(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::string line;
  std::getline(in, line);
  std::istringstream header(line);
  Schedule out;
  if (!(header >> out.name >> out.stages >> out.microbatches) || out.stages < 1 ||
      out.stages > 9999) {
    throw ScheduleError("line 1: expected a name, the number of stages and of micro-batches");
  }
  for (int stage = 0; stage < out.stages; ++stage) {
    int rank = -1;
    if (!(header >> rank) || rank < 0)
      throw ScheduleError("line 1: expected the rank of every stage");
    out.rank_of_stage.push_back(rank);
  }
  for (int number = 2; std::getline(in, line); ++number) {
    auto& program = out.program.emplace_back();
    std::istringstream actions(line);
    for (std::string action; std::getline(actions, action, ',');) {
      program.push_back(parse_action(action, "line " + std::to_string(number) + ", action " +
                                                 std::to_string(program.size() + 1)));
    }
  }
  for (const int rank : out.rank_of_stage) {
    if (rank >= out.ranks())
      throw ScheduleError("a stage lives on rank " + std::to_string(rank) + ", which has no line");
  }
  return out;
}

}  // namespace frugal
