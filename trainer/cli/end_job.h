// How a job ends that has failed.
#pragma once

#include <string>

#include "comm/world.h"
#include "trainer/engine/run_folder.h"

namespace frugal::cli {

// One message from one rank, then the end of all of them with the kind's exit code. Every rank may
// find the same fault, or suffer from the first one's end: the lowest rank speaks and ends the job,
// the others give it time to. Its end reaches them as a signal. failure: also noted in run.json.
[[noreturn]] void end_job(World& world, ErrorKind kind, const std::string& message,
                          const RunFailure* failure = nullptr);

}  // namespace frugal::cli
