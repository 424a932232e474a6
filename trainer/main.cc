// Parses the command line, runs one subcommand and turns exceptions into one message and an exit
// code.
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>

#include "trainer/cli/commands.h"
#include "trainer/config/config.h"

namespace {

using frugal::ErrorKind;

// Every rank may find the same fault, or suffer from the first one's end: the lowest rank speaks
// and ends the job, the others give it time to.
[[noreturn]] void end_job(frugal::World& world, ErrorKind kind, const std::string& message) {
  using std::chrono::milliseconds;
  const bool secondary = kind == ErrorKind::kCommunication;
  if (world.size() > 1) {
    std::this_thread::sleep_for(
        milliseconds((secondary ? 2000 : 0) + (world.rank() > 0 ? 1000 : 0)));
  }
  const bool program = kind == ErrorKind::kInternal;
  std::cerr << "frugal: " << (program ? "internal error: " : "") << message << std::endl;
  if (world.size() > 1) world.abort(static_cast<int>(kind));
  std::_Exit(static_cast<int>(kind));
}

// OpenMP's threads wait for work by spinning for milliseconds. Where the machine is shared, by
// other ranks or other programs, that takes the core from whoever has the work. libgomp reads how
// long to spin before main() begins, so the program says it and starts itself again. A user's own
// choice stands.
void spin_briefly(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  setenv("GOMP_SPINCOUNT", "1000", 0);
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) execv(self.c_str(), argv);
  // Without /proc the run is only slower on a shared machine.
}

int run_job(int argc, char** argv, const frugal::cli::Run& run) {
  const auto world = frugal::make_world(&argc, &argv);
  frugal::set_thread_rank(world->size() > 1 ? world->rank() : -1);
  try {
    return run(*world);
  } catch (const frugal::Error& error) {
    end_job(*world, error.kind(), error.what());
  } catch (const frugal::ConfigError& error) {
    end_job(*world, ErrorKind::kUsage, error.what());
  } catch (const std::bad_alloc&) {
    end_job(*world, ErrorKind::kPreflight,
            "out of memory; `frugal train ... --dry-run` shows what the run needs");
  } catch (const std::exception& error) {
    end_job(*world, ErrorKind::kInternal, error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  spin_briefly(argv);
  CLI::App app{"Frugal trains large language models on many cheap GPUs.", "frugal"};
  app.require_subcommand(1);
  frugal::cli::Run run;
  frugal::cli::add_train(app, run);
  frugal::cli::add_tokenizer(app, run);
  frugal::cli::add_data(app, run);
  frugal::cli::add_checkpoint(app, run);
  frugal::cli::add_generate(app, run);
  frugal::cli::add_config(app, run);
  app.add_subcommand("version", "Print the version")->callback([&run] {
    run = [](frugal::World&) {
      std::cout << "frugal " FRUGAL_VERSION "\n";
      return 0;
    };
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorKind::kUsage);
  }
  return run_job(argc, argv, run);
}
