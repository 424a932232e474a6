// Forwards without backward: evaluation, and the model that samples come from.
#include <algorithm>

#include "kernels/ops/elementwise.h"
#include "trainer/engine/rank_model.h"

namespace frugal {
namespace {

int divide_up(int a, int b) {
  return (a + b - 1) / b;
}

}  // namespace

// As many as share the work of all data ranks evenly, but no more than training has slots for.
int RankModel::eval_microbatches() const {
  return std::min(microbatches(), divide_up(config_.eval.batches, mesh_.size(Axis::kData)));
}

int RankModel::eval_rounds() const {
  return divide_up(config_.eval.batches, eval_microbatches() * mesh_.size(Axis::kData));
}

void RankModel::make_evaluation() {
  const ParallelismConfig& parallelism = config_.parallelism;
  const auto forwards = [&](int count) {
    return insert_transfers(
        make_forward_only(parallelism.pipeline, parallelism.stages_per_rank, count));
  };
  eval_schedule_ = forwards(eval_microbatches());
  eval_losses_ = memory_.activations.allocate(
      "evaluation losses", {eval_rounds() * eval_microbatches() * mesh_.size(Axis::kData)},
      DType::kF32);
}

EvalResult RankModel::evaluate(const BatchSource& batches) {
  const int count = eval_microbatches();
  const int data_size = mesh_.size(Axis::kData);
  std::int64_t own_tokens = 0;
  ops::fill(*compute_, eval_losses_, 0.0F);
  for (int round = 0; round < eval_rounds(); ++round) {
    std::vector<Microbatch> group(microbatches_.begin(), microbatches_.begin() + count);
    for (int m = 0; m < count; ++m) {
      const int index = (round * data_size + mesh_.coordinate(Axis::kData)) * count + m;
      HostMicrobatch batch = batches(std::min(index, config_.eval.batches - 1));
      const std::vector<std::int32_t> ignored(batch.targets.size(), -1);
      if (index >= config_.eval.batches) batch.targets = ignored;  // fills the round up
      own_tokens += load(m, batch);
      group[static_cast<std::size_t>(m)].loss_1 = eval_losses_.slice(index, index + 1);
    }
    eval_executor_->run(group, nullptr);
    compute_->synchronize();
    pipeline_->synchronize();
  }
  return mean_loss(eval_losses_, config_.eval.batches, own_tokens);
}

// Room for every prompt at the length that it can reach, and for questions as long as a sequence.
void RankModel::make_inference(const ModelDimensions& dims) {
  constexpr std::size_t kMostSequences = 8;
  const SampleConfig& sample = config_.sample;
  std::size_t longest = 0;  // a token is a byte at least
  for (const std::string& prompt : sample.prompts) longest = std::max(longest, prompt.size() + 1);
  const auto most = static_cast<std::size_t>(config_.model.max_position_embeddings);
  std::size_t room = longest + static_cast<std::size_t>(sample.max_new_tokens);
  if (!config_.eval.questions.empty()) {
    longest = std::max(longest, static_cast<std::size_t>(config_.data.sequence_length));
    room = std::max(room, longest);
  }
  const int positions = static_cast<int>(std::min(most, room));
  const InferenceResources resources{.compute = *compute_,
                                     .scratch = scratch_,
                                     .mesh = mesh_,
                                     .params = params_,
                                     .memory = memory_.activations,
                                     .host = memory_.host,
                                     .tf32 = config_.precision.tf32};
  const auto sequences =
      static_cast<int>(std::clamp<std::size_t>(sample.prompts.size(), 1, kMostSequences));
  inference_ = std::make_unique<InferenceModel>(
      config_, dims, resources,
      InferenceLimits{.sequences = sequences,
                      .positions = positions,
                      .new_tokens = std::min(positions, static_cast<int>(longest))});
}

InferenceModel& RankModel::inference() {
  FRUGAL_CHECK(inference_ != nullptr, "neither sample.interval nor eval.questions is set");
  return *inference_;
}

}  // namespace frugal
