// Parses the command line, runs one subcommand and turns exceptions into one message and an exit
// code.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "trainer/cli/commands.h"
#include "trainer/cli/end_job.h"
#include "trainer/config/config.h"

namespace {

using frugal::ErrorKind;
using frugal::cli::end_job;

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
  std::unique_ptr<frugal::World> world;
  try {
    world = frugal::make_world(&argc, &argv);
  } catch (const frugal::Error& error) {
    std::fprintf(stderr, "frugal: %s\n", error.what());
    return static_cast<int>(error.kind());
  }
  frugal::set_thread_rank(world->size() > 1 ? world->rank() : -1);
  try {
    const int code = run(*world);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      frugal::fail(ErrorKind::kData, "standard output cannot be written: ", std::strerror(errno));
    }
    return code;
  } catch (const frugal::RunFailure& error) {
    end_job(*world, error.kind(), error.what(), &error);
  } catch (const frugal::Error& error) {
    end_job(*world, error.kind(), error.what());
  } catch (const frugal::ConfigError& error) {
    end_job(*world, ErrorKind::kUsage, error.what());
  } catch (const std::bad_alloc&) {
    end_job(*world, ErrorKind::kPreflight, "out of memory");
  } catch (const std::filesystem::filesystem_error& error) {
    end_job(*world, ErrorKind::kData,
            frugal::concat(error.path1().string(), ": ", error.code().message()));
  } catch (const std::exception& error) {
    end_job(*world, ErrorKind::kInternal, error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  spin_briefly(argv);
  CLI::App app{"Frugal trains large language models on many cheap GPUs.", "frugal"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "frugal " FRUGAL_VERSION, "Print the version");
  frugal::cli::Run run;
  frugal::cli::add_train(app, run);
  frugal::cli::add_tokenizer(app, run);
  frugal::cli::add_data(app, run);
  frugal::cli::add_checkpoint(app, run);
  frugal::cli::add_generate(app, run);
  frugal::cli::add_evaluate(app, run);
  frugal::cli::add_config(app, run);
  app.add_subcommand("version", "Print the version")->callback([&run] {
    run = frugal::cli::say_once("frugal " FRUGAL_VERSION "\n");
  });
  app.add_subcommand("help", "Print this help message")->callback([&run, &app] {
    const auto formatter = app.get_formatter();  // app.help() would be the help of this command
    run = frugal::cli::say_once(
        formatter->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal));
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    run = frugal::cli::answer_to(error, app);
  }
  return run_job(argc, argv, run);
}
