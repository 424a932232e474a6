#include <cmath>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

// One computation as `columns` characters: "F3", "b3", "w3" padded with '-', or the letter alone.
std::string block(const Action& action, int columns) {
  const char letter = action.kind == ActionKind::kForward         ? 'F'
                      : action.kind == ActionKind::kBackwardInput ? 'b'
                                                                  : 'w';
  std::string text = letter + std::to_string(action.microbatch);
  text.resize(static_cast<std::size_t>(columns), '-');
  return text;
}

}  // namespace

std::string draw(const ScheduleReport& report, int width) {
  constexpr double kColumnsPerUnit = 3;
  const auto column = [](double time) {
    return static_cast<int>(std::lround(time * kColumnsPerUnit));
  };
  std::string out;
  for (std::size_t rank = 0; rank < report.timeline.size(); ++rank) {
    std::string line;
    for (const TimedAction& timed : report.timeline[rank]) {
      const int begin = column(timed.begin), end = column(timed.end);
      if (begin > std::ssize(line)) line.resize(static_cast<std::size_t>(begin), '.');
      if (end > begin) line += block(timed.action, end - begin);
    }
    line.resize(static_cast<std::size_t>(column(report.makespan)), '.');
    if (std::ssize(line) > width) line = line.substr(0, static_cast<std::size_t>(width)) + " ...";
    out += "  pipeline rank " + std::to_string(rank) + "  " + line + "\n";
  }
  return out;
}

}  // namespace frugal
