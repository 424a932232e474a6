// A model's forward pass for tokens as they come, with a cache of keys and values: what generation
// and scoring run on, over the weights of a training or of an InferenceRank.
#pragma once

#include <memory>
#include <set>
#include <span>
#include <vector>

#include "comm/device_mesh.h"
#include "kernels/core/arena.h"
#include "kernels/core/workspace.h"
#include "trainer/config/config.h"
#include "trainer/model/dimensions.h"
#include "trainer/model/layer.h"
#include "trainer/model/param_store.h"
#include "trainer/shard/stage_split.h"

namespace frugal {

struct InferenceLimits {
  int sequences = 1;   // in the cache at once
  int positions = 1;   // of each sequence
  int new_tokens = 1;  // of one call
};

// Owned by the caller; outlives the model.
struct InferenceResources {
  Stream& compute;
  Workspace& scratch;
  DeviceMesh& mesh;
  ParamStore& params;
  Arena& memory;  // of the device
  Arena& host;    // Arena::host_side, for what the host writes and reads
  bool tf32 = false;
};

// The parameters of this rank's stages, in the order of the layers: what a training declares too.
void declare_params(const ModelDimensions& dims, const Config& config, int pipeline_rank,
                    ParamStore& params);

// Collective over a replica: its ranks give the same tokens and get the same results. Data-parallel
// replicas may give others, or the same. One thread.
class InferenceModel {
 public:
  // dims: of config, on this rank. Parameters are found in resources.params by their names.
  InferenceModel(const Config& config, const ModelDimensions& dims, InferenceResources resources,
                 InferenceLimits limits);

  // New tokens of a sequence: they take positions begin, begin + 1, ... and see those before, which
  // earlier calls have fed.
  struct Feed {
    int sequence = 0;
    std::int64_t begin = 0;
    std::span<const std::int32_t> tokens;  // at least one
  };
  // Logits over the vocabulary of what follows each feed's last token, row by row; valid until the
  // next call. One feed from position 0 is the fast way for a prompt. Waits.
  std::span<const float> extend(std::span<const Feed> feeds);

  // The sum of -log p(targets[t] | inputs[.. t]) over targets that are not negative. As many
  // targets as inputs, at most new_tokens; the cache is left alone. Waits.
  double loss(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets);

  // Data-parallel replicas may divide work among them: whether this one does item `number`, and the
  // sums of what each has found, the same on all. Collective.
  bool is_own_share(std::size_t number) const;
  void sum_over_replicas(std::vector<double>& values);

  // On a planning stream: takes from the workspace what calls up to the limits need.
  void measure();

  const InferenceLimits& limits() const { return limits_; }
  std::int64_t vocab() const { return dims_.vocab; }

 private:
  struct Mirrored {
    Tensor tensor, host;
  };
  // A layer bound to the parameters, with the tensors that its forward writes.
  struct Bound {
    std::unique_ptr<Layer> layer;
    std::vector<std::pair<Shape, DType>> stashes;  // no elements: not written by forward
  };
  class Binder;

  Mirrored mirrored(const char* name, Shape shape, DType dtype);
  std::int64_t padded(std::int64_t tokens) const;
  void bind(std::int64_t tokens);
  void place(std::int64_t index, std::int32_t id, std::int64_t position);
  void see(std::int64_t index, std::int64_t row, std::int64_t first, std::int64_t last);
  void pad(std::int64_t from, std::int64_t to);
  Microbatch upload(std::int64_t tokens);
  void upload_cache(std::int64_t tokens, bool fresh);
  void run(std::int64_t tokens, const Microbatch& microbatch);
  void run_stage(const std::vector<Bound>& stage, LayerContext& ctx, Tensor& x, Tensor& y);
  void broadcast(const Mirrored& result);

  ModelDimensions dims_;
  InferenceResources res_;
  InferenceLimits limits_;
  std::vector<StageRange> ranges_;
  std::vector<int> rank_of_stage_;
  Tensor rope_table_;
  std::vector<KvCache::Layer> layers_;
  Mirrored ids_, positions_, targets_, rows_, first_, last_, logits_, loss_;
  KvCache cache_;
  std::int64_t bound_tokens_ = -1;
  std::vector<std::vector<Bound>> stages_;  // by stage; empty where another rank has it
};

}  // namespace frugal
