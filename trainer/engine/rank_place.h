// Where a rank runs.
#pragma once

#include <string>

#include "comm/process_group.h"
#include "kernels/core/device.h"
#include "trainer/config/config.h"

namespace frugal {

struct RankPlace {
  int local_rank = 0;  // among the ranks of this host
  int local_size = 1;
  int process_ranks = 1;   // ranks that are threads of this process
  int ranks_on_cores = 1;  // ranks, this one included, that share the cores of its affinity mask
  bool own_gpus = false;   // no other process of this host sees the GPUs that this one sees
};

// Collective, but on the CPU: what RankPlace::own_gpus says of this rank. Launchers that give each
// process a GPU of its own (srun --gpus-per-task, Kubernetes) show it no others.
bool sees_own_gpus(ProcessGroup& world, const Config& config, const RankPlace& place);

// What config.device means for this rank: the CPU, or the GPU of its host that has the number of
// its local rank, or the first of its own. auto: a GPU where this program can use one. Throws
// Error(kPreflight) for cuda where it cannot.
Device rank_device(const Config& config, const RankPlace& place);

// Why a GPU is too old for the kernels or for precision.compute, and what to do; empty: it is not.
std::string unable(const Config& config, Device device);

// Collective. Which ranks run on which GPUs, a line for each host; on rank 0, and empty where all
// ranks run on CPUs.
std::string gpu_map(ProcessGroup& world, Device device);

}  // namespace frugal
