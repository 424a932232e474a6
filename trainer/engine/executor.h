// Runs one rank's program of a schedule. Knows action kinds; does not know the names of schedules.
#pragma once

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "comm/device_mesh.h"
#include "trainer/engine/stage.h"
#include "trainer/schedule/schedule.h"
#include "trainer/shard/grad_reducer.h"

namespace frugal {

// What a rank computes with. Owned by the trainer; outlives the executor.
struct RankResources {
  Stream& compute;   // ops and tensor-parallel collectives
  Stream& pipeline;  // transfers between stages
  Stream& reduce;    // gradient exchanges
  Workspace& scratch;
  DeviceMesh& mesh;
  ParamStore& params;
  bool tf32 = false;
};

// Computation goes to compute in program order, transfers to pipeline in program order; events join
// them: a computation waits for what it needs to have arrived, a transfer for what it sends to be
// computed. Consecutive transfers of the program are one exchange, without order inside.
class PipelineExecutor {
 public:
  // stages: by stage number; nullptr for those of other ranks.
  PipelineExecutor(const Schedule& schedule, std::vector<Stage*> stages, RankResources resources);

  // One step. microbatches: this pipeline's, by number. The losses are in their loss_1 when compute
  // has passed. reducer: hears of finished weight gradients; null in evaluation, where the schedule
  // holds forwards only.
  void run(std::span<const Microbatch> microbatches, GradReducer* reducer);

 private:
  using Key = std::pair<int, int>;  // stage, micro-batch

  void transfer(std::span<const Action> group);
  PeerTransfer prepare(const Action& action);
  void compute(const Action& action);
  void forward(Stage& stage, const Action& action);
  void backward_input(Stage& stage, const Action& action);
  void backward_weight(Stage& stage, const Action& action);
  void report(const Stage& stage, int microbatch, bool fused);
  Stage& stage_at(int index);
  bool is_local(int index) const;
  LayerContext context(int microbatch);

  const Schedule& schedule_;
  std::vector<Stage*> stages_;
  RankResources res_;
  std::span<const Microbatch> microbatches_;
  GradReducer* reducer_ = nullptr;
  std::map<Key, Event> arrived_activation_, arrived_gradient_, sent_activation_, sent_gradient_;
  std::map<Key, Event> output_ready_, gradient_ready_;  // on compute
};

}  // namespace frugal
