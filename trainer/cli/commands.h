// The subcommands. Each adds itself to the command line; the one that was asked for becomes `run`.
#pragma once

#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "comm/world.h"

namespace frugal::cli {

// What main() runs after parsing; returns the exit code. Throws Error, ConfigError.
using Run = std::function<int(World& world)>;

void add_train(CLI::App& app, Run& run);
void add_tokenizer(CLI::App& app, Run& run);
void add_data(CLI::App& app, Run& run);
void add_checkpoint(CLI::App& app, Run& run);
void add_generate(CLI::App& app, Run& run);
void add_evaluate(CLI::App& app, Run& run);
void add_config(CLI::App& app, Run& run);

// A command for one rank: a usage error under mpirun.
Run alone(std::function<int()> work);
// What runs when the command line holds no command: help, or an error that says what was meant.
Run answer_to(const CLI::ParseError& error, const CLI::App& app);
// A checkpoint's folder itself, or the newest one of a run folder.
std::string step_folder(const std::string& path);
// Prints the text; under mpirun one rank does.
Run say_once(std::string text);

}  // namespace frugal::cli
