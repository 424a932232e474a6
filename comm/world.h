// How ranks begin and end.
#pragma once

#include <functional>
#include <memory>

#include "comm/process_group.h"

namespace frugal {

// The MPI side: one per process, for the life of main().
class World {
 public:
  virtual ~World() = default;
  // All ranks of the job. May be called again; each call gives a group of its own, collective.
  virtual std::unique_ptr<ProcessGroup> group() = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Rank and number of ranks on this host.
  virtual int local_rank() const = 0;
  virtual int local_size() const = 0;
  // Ranks of this host, this one included, that may run on the same cores: all of them, or fewer
  // where the launcher has bound ranks to cores.
  virtual int ranks_on_cores() const = 0;
  // Ends every rank of the job with this exit code, now. Safe from any thread.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

// Joins the MPI job (MPI_Init_thread with MPI_THREAD_MULTIPLE). Without mpirun, or in a binary
// without MPI, a world of one rank that touches no MPI. Destroying it leaves the job
// (MPI_Finalize).
std::unique_ptr<World> make_world(int* argc, char*** argv);

// True when the environment says that mpirun, srun or another launcher started this process as one
// of several.
bool launched_by_mpi();

// Runs body once per rank on `ranks` threads of this process and joins them. A rank that throws
// aborts the group, so peers that wait for it throw too; afterwards the exception of the first rank
// that failed is rethrown.
void run_ranks_as_threads(int ranks,
                          const std::function<void(std::unique_ptr<ProcessGroup>)>& body);

}  // namespace frugal
