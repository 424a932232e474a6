#include "trainer/checkpoint/checkpoint.h"

#include <memory>

#include "fmt/format.h"
#include "trainer/cli/commands.h"

namespace frugal::cli {

void add_checkpoint(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand("checkpoint", "Look at checkpoints");
  command->require_subcommand(1);
  auto dir = std::make_shared<std::string>();
  auto* inspect = command->add_subcommand("inspect", "What a checkpoint holds");
  auto* verify = command->add_subcommand("verify", "Read everything and compare the checksums");
  for (auto* sub : {inspect, verify}) {
    sub->add_option("dir", *dir, "a step-... folder")->required();
  }
  inspect->callback([&run, dir] {
    run = alone([dir] {
      fmt::print("{}", describe_checkpoint(CheckpointReader(*dir)));
      return 0;
    });
  });
  verify->callback([&run, dir] {
    run = alone([dir] {
      CheckpointReader(*dir).verify();
      fmt::print("{}: every checksum holds\n", *dir);
      return 0;
    });
  });
}

}  // namespace frugal::cli
