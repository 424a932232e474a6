// Tensors of a rank out of files, by several readers at once.
#pragma once

#include <span>
#include <vector>

#include "kernels/core/stream.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/model/param_store.h"

namespace frugal {

// Of a checkpoint's weights under the parameters' own names, in the dtype that the slice wants:
// its tensors "master/NAME". The reader must outlive it.
SliceReader weights_of(const CheckpointReader& reader);

// All that this rank holds of the weights of these parameters, under their own names. Those that
// share the weight of another one of this rank are left out.
std::vector<TensorRun> weight_runs(const ParamStore& params, std::span<const ParamId> ids);

// Fills every run. Those on the host are read in place; others go through staging (u8, on the host,
// at least a MiB), which the caller waits for. At most as many threads as compute with, and four,
// which keeps a disk busy; beside the runs' memory, what read() itself needs.
void load_runs(std::span<const TensorRun> runs, const SliceReader& read, Stream& stream,
               const Tensor& staging);

}  // namespace frugal
