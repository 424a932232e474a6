#include "trainer/engine/rank_model.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "comm/device_world.h"
#include "comm/ordered_reduce.h"
#include "kernels/ops/elementwise.h"
#include "trainer/model/attention_layer.h"
#include "trainer/model/dimensions.h"
#include "trainer/model/model.h"
#include "trainer/shard/stage_split.h"

namespace frugal {
namespace {

// Of state on its way between files and the device: several chunks of a checkpoint, since every
// piece that is read begins and ends inside one.
constexpr std::int64_t kStagingBytes = std::int64_t{4} << 20;

RankMemory make_memory(const std::optional<MemoryPlan>& plan, Device device) {
  if (!plan) {
    return {Arena::counting(device), Arena::counting(device), Arena::counting(device),
            Arena::counting(device), Arena::counting({})};
  }
  return {Arena(device, plan->weights), Arena(device, plan->gradients),
          Arena(device, plan->optimizer), Arena(device, plan->activations + plan->workspace),
          Arena::host_side(device, plan->host)};
}

std::unique_ptr<Stream> make_rank_stream(const std::optional<MemoryPlan>& plan, Device device,
                                         std::string_view name, StreamMode mode) {
  return !plan ? make_planning_stream(device) : make_stream(device, name, mode);
}

MeshShape mesh_shape(const ParallelismConfig& parallelism) {
  return {.pipeline = parallelism.pipeline,
          .data = parallelism.data.value_or(1),
          .context = parallelism.context,
          .tensor = parallelism.tensor,
          .expert = parallelism.expert};
}

}  // namespace

RankModel::RankModel(const Config& config, DeviceMesh& mesh, Device device, StreamMode compute)
    : RankModel(config, mesh, device, std::optional(plan(config, mesh.world().rank(), device)),
                compute) {}

RankModel::RankModel(const Config& config, DeviceMesh& mesh, Device device,
                     const std::optional<MemoryPlan>& plan, StreamMode compute)
    : config_(config),
      mesh_(mesh),
      memory_(make_memory(plan, device)),
      compute_(make_rank_stream(plan, device, "compute", compute)),
      pipeline_(make_rank_stream(plan, device, "pipeline", StreamMode::kThreaded)),
      reduce_(make_rank_stream(plan, device, "reduce", StreamMode::kThreaded)),
      scratch_(!plan ? Workspace::counting(device)
                     : Workspace(memory_.activations, plan->workspace)),
      params_(compute_dtype(config.precision), config.lora.rank > 0) {
  ModelDimensions dims = model_dimensions(config, mesh.coordinate(Axis::kTensor));
  if (!on_host(device)) {
    // A GPU multiplies hundreds of times as fast as it reads: thousands of tokens for a weight.
    dims.chunk_logits = std::int64_t{1} << 28;
    dims.chunk_multiple = 128;
  }
  const ParallelismConfig& parallelism = config.parallelism;
  schedule_ = insert_grad_reductions(insert_transfers(make_schedule(
      parallelism.schedule, parallelism.pipeline, microbatches(), parallelism.stages_per_rank)));
  validate(schedule_);
  const std::vector<Stage*> stages = make_stages(dims);
  reducer_ = std::make_unique<GradReducer>(
      params_, mesh_,
      GradReducerOptions{.lanes = lanes(),
                         .microbatches_per_lane = microbatches() / lanes(),
                         .whole = parallelism.zero_stage == 0},
      memory_.gradients);
  make_optimizer(dims);
  make_microbatches(dims);
  make_evaluation();
  if (config.sample.interval > 0 || !config.eval.questions.empty()) make_inference(dims);
  if (!on_host(device)) staging_ = memory_.host.allocate("staging", {kStagingBytes}, DType::kU8);
  const RankResources resources{.compute = *compute_,
                                .pipeline = *pipeline_,
                                .reduce = *reduce_,
                                .scratch = scratch_,
                                .mesh = mesh_,
                                .params = params_,
                                .tf32 = config.precision.tf32};
  executor_ = std::make_unique<PipelineExecutor>(schedule_, stages, resources);
  eval_executor_ = std::make_unique<PipelineExecutor>(eval_schedule_, stages, resources);
}

MemoryPlan RankModel::plan(const Config& config, int world_rank, Device device) {
  std::set<Product> products;
  std::set<PlannedAttention> attentions;
  const ProductCollector product_collector(products);
  const AttentionCollector attention_collector(attentions);
  DeviceMesh mesh(mesh_shape(config.parallelism), world_rank);
  RankModel model(config, mesh, device, std::nullopt, StreamMode::kInline);
  // One step on null tensors shows how much scratch the layers take.
  model.executor_->run(model.microbatches_, model.reducer_.get());
  if (model.inference_) model.inference_->measure();
  GroupMemory groups;
  for (const Axis axis : {Axis::kPipeline, Axis::kData, Axis::kContext, Axis::kTensor}) {
    const GroupMemory group = group_memory(device, mesh.size(axis));
    groups.device += group.device;
    groups.host += group.host;
  }
  return {.weights = model.memory_.weights.used(),
          .gradients = model.memory_.gradients.used(),
          .optimizer = model.memory_.optimizer.used(),
          .activations = model.memory_.activations.used(),
          .workspace = model.scratch_.high_water(),
          .op_buffers = model.compute_->planned_memory() + groups.device,
          .host = model.memory_.host.used(),
          .rings = groups.host,
          .products = std::move(products),
          .attentions = std::move(attentions)};
}

int RankModel::microbatches() const {
  return config_.batch.global_batch_size / config_.batch.micro_batch_size / mesh_.size(Axis::kData);
}

int RankModel::lanes() const {
  return config_.train.lanes.value_or(mesh_.size(Axis::kData)) / mesh_.size(Axis::kData);
}

std::vector<Stage*> RankModel::make_stages(const ModelDimensions& dims) {
  const auto ranges = split_stages(dims, config_.parallelism);
  const ScheduleReport report = simulate(schedule_, {ActionCosts{}});
  const Tensor rope = dims.learned_positions
                          ? Tensor{}
                          : make_rope_table(dims, memory_.activations, memory_.host, *compute_);
  std::vector<Stage*> by_number(ranges.size(), nullptr);
  for (std::size_t s = 0; s < ranges.size(); ++s) {
    if (schedule_.rank_of_stage[s] != mesh_.coordinate(Axis::kPipeline)) continue;
    stages_.push_back(std::make_unique<Stage>(
        dims, make_layers(dims, ranges[s].begin, ranges[s].end, rope), params_));
    by_number[s] = stages_.back().get();
  }
  params_.allocate(memory_.weights, memory_.gradients);
  for (std::size_t s = 0; s < ranges.size(); ++s) {
    if (by_number[s] == nullptr) continue;
    // A gradient handed over on the same rank takes the slot before the schedule's count begins.
    const bool handed_over = s + 1 < ranges.size() && by_number[s + 1] != nullptr;
    by_number[s]->allocate(memory_.activations,
                           {report.peak_until_input[s], report.peak_until_weight[s],
                            report.peak_input_to_weight[s] + (handed_over ? microbatches() : 0)});
  }
  return by_number;
}

void RankModel::make_optimizer(const ModelDimensions& dims) {
  pieces_ = make_shard_plan(params_, mesh_.coordinate(Axis::kData), mesh_.size(Axis::kData),
                            config_.parallelism.zero_stage == 0);
  std::vector<OptimizerPiece> updated;
  for (const ShardPiece& piece : pieces_) {
    const ParamSpec& spec = params_.entry(piece.param).spec;
    // Tensor-parallel parts have random numbers of their own; what all of them hold has the same.
    const std::string part = concat(spec.name, "@", spec.offset[0], ",", spec.offset[1]);
    updated.push_back({.weight_N = piece_weight(params_, piece),
                       .grad_N = piece_grad(params_, piece),
                       .decay = spec.decay,
                       .id = hash_of(part),
                       .begin = piece.begin});
  }
  optimizer_ = std::make_unique<AdamW>(config_.optimizer, config_.precision, config_.seed,
                                       std::move(updated), memory_.optimizer);
  grad_norm_ = std::make_unique<GradNorm>(norm_layout(dims, pieces_), mesh_, memory_.optimizer,
                                          memory_.host);
}

GradNormLayout RankModel::norm_layout(const ModelDimensions& dims,
                                      const std::vector<ShardPiece>& pieces) const {
  GradNormLayout out;
  out.block = kParamBlock;
  std::map<std::string, int> index_of;
  for (const ParamSpec& spec : all_params(dims)) index_of.emplace(spec.name, out.total_params++);
  std::vector<std::int64_t> first_block(static_cast<std::size_t>(params_.size()), 0);
  for (ParamId id = 0; id < params_.size(); ++id) {
    const auto& entry = params_.entry(id);
    if (!params_.trained(id)) continue;
    if (entry.spec.tie == ParamTie::kCopy) continue;  // its gradient was added to the owner's
    first_block[static_cast<std::size_t>(id)] = out.blocks;
    out.params.push_back({.first_block = out.blocks,
                          .blocks = entry.blocks,
                          .index = index_of.at(entry.spec.name),
                          .counted = entry.spec.sharded || mesh_.coordinate(Axis::kTensor) == 0});
    out.blocks += entry.blocks;
  }
  for (const ShardPiece& piece : pieces) {
    if (!piece.owned || params_.entry(piece.param).spec.tie == ParamTie::kCopy) continue;
    out.pieces.push_back({.grad_N = piece_grad(params_, piece),
                          .first_block = first_block[static_cast<std::size_t>(piece.param)] +
                                         piece.begin / kParamBlock});
  }
  return out;
}

RankModel::Mirrored RankModel::allocate_mirrored(std::string_view name, Shape shape, DType dtype) {
  const Tensor tensor = memory_.activations.allocate(name, shape, dtype);
  return {tensor, memory_.host.mirror(name, tensor)};
}

void RankModel::make_microbatches(const ModelDimensions& dims) {
  const auto allocate = [&](const char* name) {
    return allocate_mirrored(name, {dims.tokens}, DType::kI32);
  };
  // Without document mask all micro-batches share them; with it, load() writes their own.
  const bool documents = config_.data.document_mask;
  positions_.push_back(allocate("positions"));
  const Mirrored& shared = positions_.front();
  for (std::int64_t t = 0; shared.host.data != nullptr && t < dims.tokens; ++t) {
    shared.host.as<std::int32_t>()[t] = static_cast<std::int32_t>(t % dims.sequence_length);
  }
  ops::copy(*compute_, shared.tensor, shared.host);
  const int per_lane = microbatches() / lanes();
  lane_losses_ =
      memory_.activations.allocate("losses", {lanes() * mesh_.size(Axis::kData)}, DType::kF32);
  loss_sum_ = allocate_mirrored("loss", {1}, DType::kF32);
  target_tokens_ = allocate_mirrored("target tokens", {1}, DType::kI32);
  for (int m = 0; m < microbatches(); ++m) {
    ids_.push_back(allocate("ids"));
    targets_.push_back(allocate("targets"));
    document_starts_.push_back(documents ? allocate("documents") : Mirrored{});
    if (documents && m > 0) positions_.push_back(allocate("positions"));
    const int lane = mesh_.coordinate(Axis::kData) * lanes() + m / per_lane;
    microbatches_.push_back({.ids_T = ids_.back().tensor,
                             .targets_T = targets_.back().tensor,
                             .positions_T = positions_.back().tensor,
                             .document_start_T = document_starts_.back().tensor,
                             .loss_1 = lane_losses_.slice(lane, lane + 1)});
  }
}

void RankModel::initialize(std::uint64_t seed, const SliceReader& frozen) {
  params_.initialize(seed, *compute_, /*only_trained=*/frozen != nullptr);
  if (frozen) load_frozen(frozen);
  optimizer_->state_from_weights(*compute_);
  reducer_->clear(*compute_);
  compute_->synchronize();
}

// Enqueues the copy of a micro-batch, of which compute must be done with the one before; returns
// how many targets count.
std::int64_t RankModel::load(int microbatch, const HostMicrobatch& batch) {
  const auto copy = [&](std::span<const std::int32_t> from, const Mirrored& to) {
    if (to.host.data == nullptr) return;
    FRUGAL_CHECK(static_cast<std::int64_t>(from.size()) == to.host.numel(), "a micro-batch of ",
                 from.size(), " tokens");
    std::copy(from.begin(), from.end(), to.host.as<std::int32_t>());
    ops::copy(*compute_, to.tensor, to.host);
  };
  const auto i = static_cast<std::size_t>(microbatch);
  copy(batch.inputs, ids_[i]);
  copy(batch.targets, targets_[i]);
  copy(batch.document_start, document_starts_[i]);
  if (document_starts_[i].host.data != nullptr) {
    // They begin anew with every document, as if it were alone.
    const auto length = static_cast<std::size_t>(config_.data.sequence_length);
    std::vector<std::int32_t> positions(batch.document_start.size());
    for (std::size_t t = 0; t < positions.size(); ++t) {
      positions[t] = static_cast<std::int32_t>(t % length) - batch.document_start[t];
    }
    copy(positions, positions_[i]);
  }
  return std::ranges::count_if(batch.targets, [](std::int32_t id) { return id >= 0; });
}

// The first `count` losses, of which every data rank has its own and zeros elsewhere, summed along
// one tree, over the target tokens of all. Waits; every rank gets the same.
EvalResult RankModel::mean_loss(const Tensor& losses, std::int64_t count, std::int64_t own_tokens) {
  ProcessGroup& data = mesh_.group(Axis::kData);
  *target_tokens_.host.as<std::int32_t>() = static_cast<std::int32_t>(own_tokens);
  ops::copy(*compute_, target_tokens_.tensor, target_tokens_.host);
  data.all_reduce(target_tokens_.tensor, ReduceOp::kSum, *compute_);
  ops::copy(*compute_, target_tokens_.host, target_tokens_.tensor);
  data.all_reduce(losses, ReduceOp::kSum, *compute_);
  mesh_.group(Axis::kPipeline).broadcast(losses, schedule_.rank_of_stage.back(), *compute_);
  ops::tree_sum(*compute_, loss_sum_.tensor, losses.slice(0, count).reshape({count, 1}));
  ops::copy(*compute_, loss_sum_.host, loss_sum_.tensor);
  compute_->synchronize();
  const std::int32_t tokens = *target_tokens_.host.as<std::int32_t>();
  const float sum = *loss_sum_.host.as<float>();
  return {.loss = tokens > 0 ? sum / static_cast<float>(tokens) : 0.0F, .target_tokens = tokens};
}

void RankModel::gather_weights() {
  if (mesh_.size(Axis::kData) == 1 || config_.parallelism.zero_stage == 0) return;
  ProcessGroup& group = mesh_.group(Axis::kData);
  for (const ParamBucket& bucket : params_.buckets()) {
    if (!bucket.owns_weights || !bucket.trained) continue;
    const RowRange own = rows_of_rank(bucket.blocks, group.rank(), group.size());
    gather_rows(group, bucket.weights.slice(own.begin, own.end), bucket.weights, *compute_);
  }
}

float RankModel::tokens_of_step() const {
  return static_cast<float>(config_.batch.global_batch_size * config_.data.sequence_length);
}

void RankModel::enqueue_gradients() {
  ops::fill(*compute_, lane_losses_, 0.0F);
  executor_->run(microbatches_, reducer_.get());
  reducer_->finish(*compute_, *reduce_);
}

// The first time plainly: ops may prepare themselves. Among several ranks always: what their groups
// do is not all on the device.
void RankModel::compute_gradients(float loss_scale) {
  // Every loss is scaled as if all targets counted.
  for (Microbatch& microbatch : microbatches_) {
    microbatch.loss_scale = loss_scale / tokens_of_step();
  }
  const bool capture = config_.train.cuda_graph && prepared_ && mesh_.world().size() == 1;
  if (capture && (graph_ == nullptr || loss_scale != graph_loss_scale_)) {
    try {
      graph_ = compute_->capture([this] { enqueue_gradients(); });
    } catch (const Error& error) {  // what was half enqueued cannot go on plainly
      fail(error.kind(), "a step as one CUDA graph: ", error.what(),
           "; train.cuda_graph=false does it op by op");
    }
    graph_loss_scale_ = loss_scale;
  }
  if (graph_ != nullptr) {
    graph_->replay();
  } else {
    enqueue_gradients();
  }
  prepared_ = true;
  reduce_->synchronize();
  pipeline_->synchronize();
}

StepResult RankModel::train_step(std::int64_t update, float learning_rate, float loss_scale,
                                 const BatchSource& batches) {
  StepResult result;
  std::int64_t own_tokens = 0;
  for (int m = 0; m < microbatches(); ++m) {
    own_tokens += load(m, batches(mesh_.coordinate(Axis::kData) * microbatches() + m));
  }
  compute_gradients(loss_scale);
  const EvalResult mean = mean_loss(lane_losses_, lane_losses_.numel(), own_tokens);
  result.loss = mean.loss;
  result.target_tokens = mean.target_tokens;

  // What takes both scales back.
  const float grad_scale = tokens_of_step() /
                           static_cast<float>(std::max<std::int64_t>(result.target_tokens, 1)) /
                           loss_scale;
  result.grad_norm = grad_norm_->compute(grad_scale, *compute_);
  result.skipped = !std::isfinite(result.grad_norm);
  if (!result.skipped) {
    const auto limit = static_cast<float>(config_.optimizer.grad_clip);
    const float clip = limit > 0.0F && result.grad_norm > limit ? limit / result.grad_norm : 1.0F;
    optimizer_->step(
        {.step = update, .learning_rate = learning_rate, .grad_scale = grad_scale * clip},
        *compute_);
    gather_weights();
  }
  reducer_->clear(*compute_);
  compute_->synchronize();
  return result;
}

}  // namespace frugal
