// The subcommands. Each adds itself to the command line; the one that was asked for becomes `run`.
#pragma once

#include <functional>

#include "CLI/CLI.hpp"
#include "comm/world.h"

namespace frugal::cli {

// What main() runs after parsing; returns the exit code. Throws Error, ConfigError. Only `train`
// uses more than one rank.
using Run = std::function<int(World& world)>;

void add_train(CLI::App& app, Run& run);
void add_tokenizer(CLI::App& app, Run& run);
void add_data(CLI::App& app, Run& run);
void add_checkpoint(CLI::App& app, Run& run);
void add_generate(CLI::App& app, Run& run);
void add_config(CLI::App& app, Run& run);

}  // namespace frugal::cli
