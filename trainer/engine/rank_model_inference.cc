// Forwards without backward: evaluation and the logits that generation samples from.
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

void RankModel::make_inference() {
  const ParallelismConfig& parallelism = config_.parallelism;
  const auto forwards = [&](int count) {
    return insert_transfers(
        make_forward_only(parallelism.pipeline, parallelism.stages_per_rank, count));
  };
  eval_schedule_ = forwards(eval_microbatches());
  logits_schedule_ = forwards(1);
  eval_losses_ = memory_.activations.allocate(
      "evaluation losses", {eval_rounds() * eval_microbatches() * mesh_.size(Axis::kData)},
      DType::kF32);
  logits_ = allocate_mirrored(
      "logits", {config_.batch.micro_batch_size, config_.model.vocab_size.value()}, DType::kF32);
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

std::span<const Microbatch> RankModel::logits_microbatch(std::span<const std::int64_t> tokens) {
  logits_microbatch_.assign(1, microbatches_.front());
  logits_microbatch_.front().logit_tokens = tokens;
  logits_microbatch_.front().logits_BV = logits_.tensor;
  return logits_microbatch_;
}

std::vector<std::vector<float>> RankModel::next_token_logits(
    std::span<const std::vector<std::int32_t>> sequences) {
  const auto length = static_cast<std::size_t>(config_.data.sequence_length);
  const auto rows = static_cast<std::size_t>(config_.batch.micro_batch_size);
  FRUGAL_CHECK(!sequences.empty() && sequences.size() <= rows, sequences.size(), " sequences");
  std::vector<std::int32_t> inputs(rows * length, 0);  // attention is causal: the end is not seen
  const std::vector<std::int32_t> targets(rows * length, -1);
  std::vector<std::int32_t> documents(config_.data.document_mask ? rows * length : 0, 0);
  std::vector<std::int64_t> last;
  for (std::size_t b = 0; b < sequences.size(); ++b) {
    FRUGAL_CHECK(!sequences[b].empty() && sequences[b].size() <= length, "a sequence of ",
                 sequences[b].size(), " tokens");
    std::ranges::copy(sequences[b], inputs.begin() + static_cast<std::ptrdiff_t>(b * length));
    last.push_back(static_cast<std::int64_t>(b * length + sequences[b].size()) - 1);
  }
  load(0, {inputs, targets, documents});
  logits_executor_->run(logits_microbatch(last), nullptr);
  compute_->synchronize();
  pipeline_->synchronize();
  mesh_.group(Axis::kPipeline)
      .broadcast(logits_.tensor, logits_schedule_.rank_of_stage.back(), *compute_);
  ops::copy(*compute_, logits_.host, logits_.tensor);
  compute_->synchronize();
  std::vector<std::vector<float>> out;
  const std::int64_t vocab = logits_.host.shape[1];
  for (std::int64_t b = 0; b < std::ssize(sequences); ++b) {
    const float* row = logits_.host.as<float>() + b * vocab;
    out.emplace_back(row, row + vocab);
  }
  return out;
}

}  // namespace frugal
