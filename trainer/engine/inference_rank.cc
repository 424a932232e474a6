#include "trainer/engine/inference_rank.h"

#include <numeric>

#include "comm/device_world.h"

namespace frugal {
namespace {

constexpr std::int64_t kStagingBytes = std::int64_t{16} << 20;  // of weights on their way

Arena arena(Device device, const InferenceRank::Plan* plan, std::size_t bytes) {
  return plan == nullptr ? Arena::counting(device) : Arena(device, bytes);
}

}  // namespace

InferenceRank::InferenceRank(const Config& config, DeviceMesh& mesh, Device device,
                             InferenceLimits limits, const Plan* plan)
    : compute_(plan == nullptr ? make_planning_stream(device) : make_stream(device, "compute")),
      weights_(arena(device, plan, plan == nullptr ? 0 : plan->weights)),
      no_gradients_(Arena::counting(device)),
      memory_(arena(device, plan, plan == nullptr ? 0 : plan->memory + plan->workspace)),
      host_(plan == nullptr ? Arena::counting({}) : Arena::host_side(device, plan->host)),
      scratch_(plan == nullptr ? Workspace::counting(device) : Workspace(memory_, plan->workspace)),
      params_(compute_dtype(config.precision)) {
  const ModelDimensions dims = model_dimensions(config, mesh.coordinate(Axis::kTensor));
  declare_params(dims, config, mesh.coordinate(Axis::kPipeline), params_);
  params_.allocate(weights_, no_gradients_);
  if (!on_host(device)) staging_ = host_.allocate("staging", {kStagingBytes}, DType::kU8);
  const InferenceResources resources{.compute = *compute_,
                                     .scratch = scratch_,
                                     .mesh = mesh,
                                     .params = params_,
                                     .memory = memory_,
                                     .host = host_,
                                     .tf32 = config.precision.tf32};
  model_ = std::make_unique<InferenceModel>(config, dims, resources, limits);
}

InferenceRank::InferenceRank(const Config& config, DeviceMesh& mesh, Device device,
                             InferenceLimits limits)
    : InferenceRank(
          config, mesh, device, limits,
          std::make_unique<const Plan>(plan(config, mesh.world().rank(), device, limits)).get()) {}

InferenceRank::Plan InferenceRank::plan(const Config& config, int world_rank, Device device,
                                        InferenceLimits limits) {
  const ParallelismConfig& p = config.parallelism;
  DeviceMesh mesh({.pipeline = p.pipeline, .data = p.data.value_or(1), .tensor = p.tensor},
                  world_rank);
  InferenceRank rank(config, mesh, device, limits, nullptr);
  rank.model_->measure();
  Plan out{.weights = rank.weights_.used(),
           .memory = rank.memory_.used(),
           .workspace = rank.scratch_.high_water(),
           .op_buffers = rank.compute_->planned_memory(),
           .host = rank.host_.used()};
  for (const Axis axis : {Axis::kPipeline, Axis::kTensor}) {
    const GroupMemory group = group_memory(device, mesh.size(axis));
    out.op_buffers += group.device;
    out.host += group.host;
  }
  return out;
}

void InferenceRank::load(const SliceReader& weights) {
  std::vector<ParamId> all(static_cast<std::size_t>(params_.size()));
  std::iota(all.begin(), all.end(), 0);
  load_runs(weight_runs(params_, all), weights, *compute_, staging_);
}

}  // namespace frugal
