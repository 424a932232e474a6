// A model for inference alone: weights, no gradients, no optimizer.
#pragma once

#include <memory>

#include "trainer/engine/inference_model.h"
#include "trainer/engine/load_runs.h"

namespace frugal {

// Owned by the caller; one thread.
class InferenceRank {
 public:
  // config is resolved, model.vocab_size set; mesh fits it. Allocates what plan() says; weights are
  // in precision.compute, and undefined until load().
  InferenceRank(const Config& config, DeviceMesh& mesh, Device device, InferenceLimits limits);

  struct Plan {
    std::size_t weights = 0, memory = 0, workspace = 0;  // memory: cache, tables, inputs
    std::size_t op_buffers = 0;                          // kept by the ops and groups
    std::size_t host = 0;                                // beside a device that is not the host
    std::size_t total() const { return weights + memory + workspace + op_buffers; }
  };
  // Bytes of rank world_rank on such a device; communicates with nobody.
  static Plan plan(const Config& config, int world_rank, Device device, InferenceLimits limits);

  // Reads this rank's parts. Waits.
  void load(const SliceReader& weights);
  InferenceModel& model() { return *model_; }

 private:
  // Without a plan: counts.
  InferenceRank(const Config& config, DeviceMesh& mesh, Device device, InferenceLimits limits,
                const Plan* plan);

  std::unique_ptr<Stream> compute_;
  Arena weights_, no_gradients_, memory_, host_;
  Workspace scratch_;
  ParamStore params_;
  Tensor staging_;
  std::unique_ptr<InferenceModel> model_;
};

}  // namespace frugal
