// Answers to command lines that name no command.
#include <iostream>
#include <sstream>
#include <vector>

#include "trainer/cli/commands.h"
#include "trainer/config/nearest.h"

namespace frugal::cli {
namespace {

// The command whose subcommand could not be read: `frugal`, or one with subcommands of its own.
const CLI::App& innermost(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : innermost(*parsed.front());
}

std::string list_of(const std::vector<std::string_view>& names) {
  std::string out;
  for (const auto name : names) out += (out.empty() ? "" : ", ") + std::string(name);
  return out;
}

// Empty: the command was understood, the error is about its options.
std::string command_problem(const CLI::App& app) {
  const CLI::App& inner = innermost(app);
  std::vector<std::string> names;
  for (const CLI::App* command : inner.get_subcommands(nullptr))
    names.push_back(command->get_name());
  if (names.empty()) return "";
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::vector<std::string> words = inner.remaining();
  if (words.empty()) return "a command is missing; there is " + list_of(known);
  const std::string& word = words.front();
  if (word.starts_with("-")) return "";
  const std::string close = config::nearest(word, known);
  return "there is no command '" + word + "'; " +
         (close.empty() ? "there is " + list_of(known) : "did you mean '" + close + "'?");
}

}  // namespace

Run alone(std::function<int()> work) {
  return [work = std::move(work)](World& world) {
    if (world.size() > 1) {
      fail(ErrorKind::kUsage, "this command runs on one rank; start it without mpirun");
    }
    return work();
  };
}

Run say_once(std::string text) {
  return [text = std::move(text)](World& world) {
    if (world.rank() == 0) std::cout << text << std::flush;
    return 0;
  };
}

Run answer_to(const CLI::ParseError& error, const CLI::App& app) {
  std::ostringstream out, ignored;
  if (app.exit(error, out, ignored) == 0) return say_once(out.str());
  std::string problem = command_problem(app);
  if (problem.empty()) problem = error.what();
  return [problem](World&) -> int {
    fail(ErrorKind::kUsage, problem, "\n  (frugal COMMAND --help says more)");
  };
}

}  // namespace frugal::cli
