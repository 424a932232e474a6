// Everything one rank trains with: its stages, parameters, gradients, optimizer and the order of
// its work.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "comm/device_mesh.h"
#include "kernels/ops/attention_choice.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/config/config.h"
#include "trainer/engine/executor.h"
#include "trainer/engine/inference_model.h"
#include "trainer/engine/load_runs.h"
#include "trainer/engine/stage.h"
#include "trainer/optim/adamw.h"
#include "trainer/optim/grad_norm.h"
#include "trainer/schedule/schedule.h"
#include "trainer/shard/grad_reducer.h"
#include "trainer/shard/shard_plan.h"

namespace frugal {

// Bytes on one rank. Counting gives the same numbers as allocating: the same code does both.
struct MemoryPlan {
  std::size_t weights = 0, gradients = 0, optimizer = 0, activations = 0, workspace = 0;
  // Kept by the ops themselves, with the caller's compute threads, and by the groups of the mesh.
  std::size_t op_buffers = 0;
  // Beside a device that is not the host: what the host puts there or reads from there.
  std::size_t host = 0;
  std::size_t rings = 0;       // of the groups of the mesh, there too
  std::set<Product> products;  // that its ops multiply
  std::set<PlannedAttention> attentions;
  std::size_t total() const {  // on the device
    return weights + gradients + optimizer + activations + workspace + op_buffers;
  }
  std::size_t host_total() const { return host + rings; }
};

// One micro-batch on the host: [tokens] each; document_start empty without document mask.
struct HostMicrobatch {
  std::span<const std::int32_t> inputs, targets, document_start;
};
// Micro-batch `global_index` of the step; the spans stay valid until the next call.
using BatchSource = std::function<HostMicrobatch(int global_index)>;

struct StepResult {
  float loss = 0.0F;               // mean over the step's target tokens
  float grad_norm = 0.0F;          // before clipping
  std::int64_t target_tokens = 0;  // over all ranks
  bool skipped = false;            // the gradient was not finite: no update was made
};

struct EvalResult {
  float loss = 0.0F;  // mean over the target tokens
  std::int64_t target_tokens = 0;
};

// The memory of a rank; counting arenas for a plan. host is the host's side of the device.
struct RankMemory {
  Arena weights, gradients, optimizer, activations, host;
};

// One thread. Collective: all ranks of the mesh make the same calls.
class RankModel {
 public:
  // config is resolved, model.vocab_size set; mesh fits it. Allocates exactly what plan() counts.
  // compute: how the CPU runs the ops. Inline is the fastest there; threaded is the order of events
  // that a GPU has.
  RankModel(const Config& config, DeviceMesh& mesh, Device device = {},
            StreamMode compute = StreamMode::kInline);

  // What rank world_rank of the layout needs on such a device; runs everywhere, communicates with
  // nobody.
  static MemoryPlan plan(const Config& config, int world_rank, Device device = {});

  // Trained weights from the seed, the same on every layout, and frozen ones too unless `frozen`
  // has them; optimizer state zero.
  void initialize(std::uint64_t seed, const SliceReader& frozen = {});
  // Trained weights from elsewhere, this rank's parts of them; optimizer state zero.
  void initialize(const SliceReader& weights);
  // The weights that are not trained: LoRA's base. Waits.
  void load_frozen(const SliceReader& weights);
  // One update: forward, backward, sums over ranks, clipping, AdamW. update counts from 1.
  // loss_scale: a power of two; the gradients of activations are so many times larger, and nothing
  // else is.
  StepResult train_step(std::int64_t update, float learning_rate, float loss_scale,
                        const BatchSource& batches);

  // Loss of micro-batches 0 .. config.eval.batches - 1, the same bits on every layout.
  EvalResult evaluate(const BatchSource& batches);
  // Generation from the weights as they are; there when sample.interval or eval.questions is set.
  // Between steps.
  InferenceModel& inference();

  // Optimizer state and master weights, which lie on the device, as runs of the global tensors
  // "KIND/PARAMETER", kind being master, exp_avg or exp_avg_sq. saved: what this rank writes to a
  // checkpoint; over all ranks every element once. Otherwise: what it must read from one, before
  // restored().
  std::vector<TensorRun> state_runs(bool saved) const;
  // Makes the weights out of the state that was read.
  void restored();

  const Config& config() const { return config_; }
  const ParamStore& params() const { return params_; }
  const Schedule& schedule() const { return schedule_; }
  // For copies between the device and the host, which the caller waits for: the stream, and host
  // memory to go through (u8; not given where the device is the host).
  Stream& compute() const { return *compute_; }
  const Tensor& staging() const { return staging_; }

 private:
  // What the host writes or reads (Arena::mirror): ops::copy goes between the two.
  struct Mirrored {
    Tensor tensor, host;
  };

  // Without a plan: counts.
  RankModel(const Config& config, DeviceMesh& mesh, Device device,
            const std::optional<MemoryPlan>& plan, StreamMode compute);

  Mirrored allocate_mirrored(std::string_view name, Shape shape, DType dtype);
  std::vector<Stage*> make_stages(const ModelDimensions& dims);
  void make_optimizer(const ModelDimensions& dims);
  void make_microbatches(const ModelDimensions& dims);
  GradNormLayout norm_layout(const ModelDimensions& dims,
                             const std::vector<ShardPiece>& pieces) const;
  std::int64_t load(int microbatch, const HostMicrobatch& batch);
  void enqueue_gradients();
  void compute_gradients(float loss_scale);
  float tokens_of_step() const;   // of all ranks, ignored ones too
  int eval_microbatches() const;  // of one pipeline at once
  int eval_rounds() const;
  void make_evaluation();
  void make_inference(const ModelDimensions& dims);
  EvalResult mean_loss(const Tensor& losses, std::int64_t count, std::int64_t own_tokens);
  void gather_weights();
  int microbatches() const;  // of one pipeline in one step
  int lanes() const;         // of one data-parallel rank

  Config config_;
  DeviceMesh& mesh_;
  RankMemory memory_;
  std::unique_ptr<Stream> compute_, pipeline_, reduce_;
  Workspace scratch_;
  ParamStore params_;
  Schedule schedule_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::unique_ptr<GradReducer> reducer_;
  std::vector<ShardPiece> pieces_;  // what the optimizer updates here
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<GradNorm> grad_norm_;
  Schedule eval_schedule_;  // forwards alone
  std::unique_ptr<PipelineExecutor> executor_, eval_executor_;
  std::unique_ptr<InferenceModel> inference_;
  bool prepared_ = false;         // the gradients of a step have been computed plainly
  std::unique_ptr<Graph> graph_;  // of enqueue_gradients(), captured anew for another loss scale
  float graph_loss_scale_ = 0.0F;
  std::vector<Microbatch> microbatches_;
  std::vector<Mirrored> ids_, targets_, document_starts_;  // by micro-batch, i32 [tokens]
  std::vector<Mirrored> positions_;  // with document mask by micro-batch, else one for all
  Tensor lane_losses_;               // f32 [lanes of all data ranks]: own ones filled
  Tensor eval_losses_;      // f32 [micro-batches of an evaluation, all data ranks]: own ones filled
  Mirrored loss_sum_;       // f32 [1]
  Mirrored target_tokens_;  // i32 [1]
  Tensor staging_;
};

}  // namespace frugal
