#include "trainer/config/config.h"

#include "fmt/format.h"
#include "trainer/cli/commands.h"

namespace frugal::cli {

void add_config(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand("config", "About configs");
  command->require_subcommand(1);
  auto* reference = command->add_subcommand("reference", "Print every key (configs/README.md)");
  reference->callback([&run] {
    run = alone([] {
      fmt::print("{}", config_reference_markdown());
      return 0;
    });
  });
}

}  // namespace frugal::cli
