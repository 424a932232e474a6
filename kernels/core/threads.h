// How many OpenMP threads the ops called from this thread may use. Results never depend on it.
#pragma once

namespace frugal {

// For the calling thread: ranks may be threads. At least 1.
void set_compute_threads(int threads);
int compute_threads();
// Cores this process may run on (its affinity mask).
int available_cores();

}  // namespace frugal
