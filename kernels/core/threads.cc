#include "kernels/core/threads.h"

#include <sched.h>

#include <algorithm>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace frugal {

#ifdef _OPENMP
void set_compute_threads(int threads) {
  omp_set_num_threads(std::max(1, threads));
}
int compute_threads() {
  return omp_get_max_threads();
}
#else  // ThreadSanitizer builds
void set_compute_threads(int) {}
int compute_threads() {
  return 1;
}
#endif

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

}  // namespace frugal
