#include "trainer/checkpoint/checkpoint.h"

#include <memory>

#include "fmt/format.h"
#include "trainer/cli/commands.h"

namespace frugal::cli {

std::string step_folder(const std::string& path) {
  for (const std::string& root : {path, path + "/checkpoints"}) {
    const auto found = list_checkpoints(root);
    if (!found.empty()) return found.front();
  }
  return path;
}

void add_checkpoint(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand("checkpoint", "Look at checkpoints");
  command->require_subcommand(1);
  auto dir = std::make_shared<std::string>();
  auto* inspect = command->add_subcommand("inspect", "What a checkpoint holds");
  auto* verify = command->add_subcommand("verify", "Read everything and compare the checksums");
  for (auto* sub : {inspect, verify}) {
    sub->add_option("dir", *dir, "a step-... folder, or a run folder: its newest")->required();
  }
  inspect->callback([&run, dir] {
    run = alone([dir] {
      fmt::print("{}", describe_checkpoint(CheckpointReader(step_folder(*dir))));
      return 0;
    });
  });
  verify->callback([&run, dir] {
    run = alone([dir] {
      const CheckpointReader reader(step_folder(*dir));
      reader.verify();
      fmt::print("{}: every checksum holds\n", reader.directory());
      return 0;
    });
  });
}

}  // namespace frugal::cli
