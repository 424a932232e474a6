#include "trainer/engine/inference_model.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "comm/gather_lines.h"
#include "fmt/format.h"
#include "kernels/ops/elementwise.h"
#include "trainer/model/attention_layer.h"
#include "trainer/model/model.h"

namespace frugal {
namespace {

// Of the round-robin that make_schedule deals stages out in.
int stages_of(const ParallelismConfig& parallelism) {
  return parallelism.pipeline * parallelism.stages_per_rank;
}

class Declarer final : public LayerBuilder {
 public:
  explicit Declarer(ParamStore& params) : params_(params) {}
  ParamId param(const ParamSpec& spec) override { return params_.declare(spec); }
  StashId stash(std::string_view, Shape, DType, Lifetime) override { return 0; }
  void keep_input(Lifetime) override {}

 private:
  ParamStore& params_;
};

}  // namespace

void declare_params(const ModelDimensions& dims, const Config& config, int pipeline_rank,
                    ParamStore& params) {
  Declarer declarer(params);
  const auto ranges = split_stages(dims, config.parallelism);
  for (std::size_t s = 0; s < ranges.size(); ++s) {
    if (static_cast<int>(s) % config.parallelism.pipeline != pipeline_rank) continue;
    for (const auto& layer : make_layers(dims, ranges[s].begin, ranges[s].end, {})) {
      layer->declare(declarer);
    }
  }
}

// Finds what was declared before; notes what a forward writes.
class InferenceModel::Binder final : public LayerBuilder {
 public:
  Binder(const ParamStore& params, Bound& bound) : params_(params), bound_(bound) {}
  ParamId param(const ParamSpec& spec) override { return params_.find(spec.name); }
  StashId stash(std::string_view, Shape shape, DType dtype, Lifetime lifetime) override {
    const bool written = lifetime != Lifetime::kInputToWeight;
    bound_.stashes.emplace_back(written ? shape : Shape{0}, dtype);
    return static_cast<StashId>(bound_.stashes.size()) - 1;
  }
  void keep_input(Lifetime) override {}

 private:
  const ParamStore& params_;
  Bound& bound_;
};

InferenceModel::InferenceModel(const Config& config, const ModelDimensions& dims,
                               InferenceResources resources, InferenceLimits limits)
    : dims_(dims),
      res_(resources),
      limits_(limits),
      ranges_(split_stages(dims, config.parallelism)) {
  dims_.recompute = false;
  dims_.chunks_alike = false;
  for (int s = 0; s < stages_of(config.parallelism); ++s) {
    rank_of_stage_.push_back(s % config.parallelism.pipeline);
  }
  ModelDimensions all = dims_;
  all.sequence_length = limits_.positions;
  if (!dims_.learned_positions) {
    rope_table_ = make_rope_table(all, res_.memory, res_.host, res_.compute);
  }
  const Shape cache{std::int64_t{limits_.sequences} * limits_.positions, dims_.local_kv_heads(),
                    dims_.head_dim};
  layers_.resize(static_cast<std::size_t>(dims_.layers));
  for (std::size_t s = 0; s < ranges_.size(); ++s) {
    if (rank_of_stage_[s] != res_.mesh.coordinate(Axis::kPipeline)) continue;
    for (int entry = ranges_[s].begin; entry < ranges_[s].end; ++entry) {
      if (entry % 2 == 0 || entry == layer_entries(dims_) - 1) continue;  // no attention
      layers_[static_cast<std::size_t>((entry - 1) / 2)] = {
          res_.memory.allocate("cached keys", cache, dims_.dtype),
          res_.memory.allocate("cached values", cache, dims_.dtype)};
    }
  }
  const Shape tokens{padded(std::max(limits_.new_tokens, limits_.sequences))};
  ids_ = mirrored("new ids", tokens, DType::kI32);
  positions_ = mirrored("new positions", tokens, DType::kI32);
  targets_ = mirrored("new targets", tokens, DType::kI32);
  rows_ = mirrored("new rows", tokens, DType::kI32);
  first_ = mirrored("first rows", tokens, DType::kI32);
  last_ = mirrored("last rows", tokens, DType::kI32);
  logits_ = mirrored("logits", {limits_.sequences, dims_.vocab}, DType::kF32);
  loss_ = mirrored("loss of a text", {1}, DType::kF32);
}

InferenceModel::Mirrored InferenceModel::mirrored(const char* name, Shape shape, DType dtype) {
  const Tensor tensor = res_.memory.allocate(name, shape, dtype);
  return {tensor, res_.host.mirror(name, tensor)};
}

// Tensor-parallel ranks share tokens evenly. Of many tokens there are few numbers: what libraries
// keep for every shape stays little.
std::int64_t InferenceModel::padded(std::int64_t tokens) const {
  constexpr std::int64_t kFew = 32;
  const std::int64_t unit = tokens > kFew ? std::lcm(kFew, dims_.tensor_size) : dims_.tensor_size;
  return (tokens + unit - 1) / unit * unit;
}

// Layers know how many tokens they are for; making them costs little beside what they compute.
void InferenceModel::bind(std::int64_t tokens) {
  if (tokens == bound_tokens_) return;
  bound_tokens_ = tokens;
  ModelDimensions dims = dims_;
  dims.tokens = dims.sequence_length = tokens;
  stages_.clear();
  stages_.resize(ranges_.size());
  for (std::size_t s = 0; s < ranges_.size(); ++s) {
    if (rank_of_stage_[s] != res_.mesh.coordinate(Axis::kPipeline)) continue;
    for (auto& layer : make_layers(dims, ranges_[s].begin, ranges_[s].end, rope_table_)) {
      Bound& bound = stages_[s].emplace_back();
      Binder binder(res_.params, bound);
      layer->declare(binder);
      bound.layer = std::move(layer);
    }
  }
}

void InferenceModel::place(std::int64_t index, std::int32_t id, std::int64_t position) {
  if (ids_.host.data == nullptr) return;  // planning
  ids_.host.as<std::int32_t>()[index] = id;
  positions_.host.as<std::int32_t>()[index] = static_cast<std::int32_t>(position);
}

void InferenceModel::see(std::int64_t index, std::int64_t row, std::int64_t first,
                         std::int64_t last) {
  if (rows_.host.data == nullptr) return;
  rows_.host.as<std::int32_t>()[index] = static_cast<std::int32_t>(row);
  first_.host.as<std::int32_t>()[index] = static_cast<std::int32_t>(first);
  last_.host.as<std::int32_t>()[index] = static_cast<std::int32_t>(last);
}

// Tokens that are there for their number alone: they see nothing and nobody sees them.
void InferenceModel::pad(std::int64_t from, std::int64_t to) {
  for (std::int64_t i = from; i < to; ++i) {
    place(i, 0, 0);
    see(i, -1, 0, -1);
  }
}

Microbatch InferenceModel::upload(std::int64_t tokens) {
  for (const Mirrored* m : {&ids_, &positions_}) {
    ops::copy(res_.compute, m->tensor.slice(0, tokens), m->host.slice(0, tokens));
  }
  return {.ids_T = ids_.tensor.slice(0, tokens),
          .targets_T = targets_.tensor.slice(0, tokens),
          .positions_T = positions_.tensor.slice(0, tokens),
          .document_start_T = {},
          .loss_1 = loss_.tensor,
          .logits_BV = logits_.tensor};
}

void InferenceModel::upload_cache(std::int64_t tokens, bool fresh) {
  for (const Mirrored* m : {&rows_, &first_, &last_}) {
    ops::copy(res_.compute, m->tensor.slice(0, tokens), m->host.slice(0, tokens));
  }
  cache_ = {.layers = layers_,
            .rows_T = rows_.tensor.slice(0, tokens),
            .first_row_T = first_.tensor.slice(0, tokens),
            .last_row_T = last_.tensor.slice(0, tokens),
            .fresh = fresh};
}

void InferenceModel::run_stage(const std::vector<Bound>& stage, LayerContext& ctx, Tensor& x,
                               Tensor& y) {
  std::vector<Tensor> tensors;
  for (const Bound& bound : stage) {
    const Workspace::Mark mark(res_.scratch);
    tensors.clear();
    for (const auto& [shape, dtype] : bound.stashes) {
      tensors.push_back(shape.numel() == 0 ? Tensor{} : res_.scratch.allocate(shape, dtype));
    }
    bound.layer->forward(ctx, x, y, {.tensors = tensors, .input = x, .output_gradient = {}});
    std::swap(x, y);
  }
}

void InferenceModel::run(std::int64_t tokens, const Microbatch& microbatch) {
  bind(tokens);
  const Workspace::Mark mark(res_.scratch);
  ModelDimensions dims = dims_;
  dims.tokens = tokens;
  const Shape shape{dims.local_tokens(), dims.hidden};
  Tensor x = res_.scratch.allocate(shape, dims.dtype), y = res_.scratch.allocate(shape, dims.dtype);
  LayerContext ctx{.compute = res_.compute,
                   .scratch = res_.scratch,
                   .tensor_group = res_.mesh.group(Axis::kTensor),
                   .params = res_.params,
                   .microbatch = microbatch,
                   .training = false,
                   .tf32 = res_.tf32};
  ProcessGroup& pipeline = res_.mesh.group(Axis::kPipeline);
  const int own = res_.mesh.coordinate(Axis::kPipeline);
  const auto transfer = [&](PeerTransfer::Kind kind, std::size_t stage) {
    const int peer = rank_of_stage_[stage];
    if (peer == own) return;
    const PeerTransfer one[] = {{.kind = kind, .tensor = x, .peer = peer}};
    pipeline.exchange(one, res_.compute);
  };
  for (std::size_t s = 0; s < ranges_.size(); ++s) {
    if (rank_of_stage_[s] != own) continue;
    if (s > 0) transfer(PeerTransfer::Kind::kRecv, s - 1);
    run_stage(stages_[s], ctx, x, y);
    if (s + 1 < ranges_.size()) transfer(PeerTransfer::Kind::kSend, s + 1);
  }
}

// From the stage that has the head to all, and to their hosts. Waits.
void InferenceModel::broadcast(const Mirrored& result) {
  res_.mesh.group(Axis::kPipeline).broadcast(result.tensor, rank_of_stage_.back(), res_.compute);
  ops::copy(res_.compute, result.host, result.tensor);
  res_.compute.synchronize();
}

std::span<const float> InferenceModel::extend(std::span<const Feed> feeds) {
  std::int64_t count = 0;
  std::vector<std::int64_t> ends;
  for (const Feed& feed : feeds) {
    const std::int64_t own = std::ssize(feed.tokens), row = feed.sequence * limits_.positions;
    FRUGAL_CHECK(own > 0 && feed.sequence < limits_.sequences &&
                     feed.begin + own <= limits_.positions && count + own <= ids_.tensor.shape[0],
                 own, " tokens from position ", feed.begin, " of sequence ", feed.sequence);
    for (std::int64_t i = 0; i < own; ++i) {
      const std::int64_t position = feed.begin + i;
      place(count, feed.tokens[static_cast<std::size_t>(i)], position);
      see(count++, row + position, row, row + position);
    }
    ends.push_back(count - 1);
  }
  FRUGAL_CHECK(!feeds.empty() && std::ssize(feeds) <= limits_.sequences, feeds.size(), " feeds");
  const std::int64_t tokens = padded(count);
  pad(count, tokens);
  Microbatch microbatch = upload(tokens);
  upload_cache(tokens, feeds.size() == 1 && feeds[0].begin == 0 && count > 1);
  microbatch.cache = &cache_;
  microbatch.logit_tokens = ends;
  run(tokens, microbatch);
  broadcast(logits_);
  return {logits_.host.as<float>(), feeds.size() * static_cast<std::size_t>(dims_.vocab)};
}

double InferenceModel::loss(std::span<const std::int32_t> inputs,
                            std::span<const std::int32_t> targets) {
  const std::int64_t count = std::ssize(inputs), tokens = padded(count);
  FRUGAL_CHECK(count > 0 && tokens <= targets_.tensor.shape[0] && inputs.size() == targets.size(),
               count, " inputs and ", targets.size(), " targets");
  for (std::int64_t i = 0; i < count; ++i) place(i, inputs[static_cast<std::size_t>(i)], i);
  pad(count, tokens);
  if (targets_.host.data != nullptr) {
    auto* to = targets_.host.as<std::int32_t>();
    std::fill(std::ranges::copy(targets, to).out, to + tokens, -1);
  }
  ops::copy(res_.compute, targets_.tensor.slice(0, tokens), targets_.host.slice(0, tokens));
  ops::fill(res_.compute, loss_.tensor, 0.0F);
  run(tokens, upload(tokens));
  broadcast(loss_);
  return static_cast<double>(*loss_.host.as<float>());
}

bool InferenceModel::is_own_share(std::size_t number) const {
  const auto replicas = static_cast<std::size_t>(res_.mesh.size(Axis::kData));
  return number % replicas == static_cast<std::size_t>(res_.mesh.coordinate(Axis::kData));
}

void InferenceModel::sum_over_replicas(std::vector<double>& values) {
  std::string own;
  for (const double value : values) own += fmt::format("{} ", value);
  std::ranges::fill(values, 0.0);
  for (const std::string& line : gather_lines(res_.mesh.group(Axis::kData), own)) {
    const char* word = line.c_str();
    for (double& sum : values) {
      char* end = nullptr;
      sum += std::strtod(word, &end);  // knows nan and inf, which streams do not read
      word = end;
    }
  }
}

void InferenceModel::measure() {
  const std::vector<std::int64_t> ends(static_cast<std::size_t>(limits_.sequences));
  for (const bool fresh : {true, false}) {
    const std::int64_t count = padded(fresh ? limits_.new_tokens : limits_.sequences);
    Microbatch microbatch = upload(count);
    run(count, microbatch);  // the head in chunks, as loss() does
    upload_cache(count, fresh);
    microbatch.cache = &cache_;
    microbatch.logit_tokens = ends;
    run(count, microbatch);
  }
  bound_tokens_ = -1;
}

}  // namespace frugal
