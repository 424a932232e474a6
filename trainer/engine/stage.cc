#include "trainer/engine/stage.h"

namespace frugal {

class Stage::Builder final : public LayerBuilder {
 public:
  Builder(Stage& stage, ParamStore& params, LayerSpec& spec)
      : stage_(stage), params_(params), spec_(spec) {}

  ParamId param(const ParamSpec& spec) override {
    spec_.params.push_back(params_.declare(spec));
    return spec_.params.back();
  }
  StashId stash(std::string_view, Shape shape, DType dtype, Lifetime lifetime) override {
    spec_.stashes.push_back(stage_.place(lifetime, shape, dtype));
    return static_cast<StashId>(spec_.stashes.size()) - 1;
  }
  void keep_input(Lifetime lifetime) override { spec_.input_lifetime = lifetime; }

 private:
  Stage& stage_;
  ParamStore& params_;
  LayerSpec& spec_;
};

Stage::Stage(const ModelDimensions& dims, std::vector<std::unique_ptr<Layer>> layers,
             ParamStore& params)
    : dims_(dims), layers_(std::move(layers)), specs_(layers_.size()) {
  params.end_bucket_group();
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (layers_[i]->fuses_backward()) params.end_bucket_group();
    Builder builder(*this, params, specs_[i]);
    layers_[i]->declare(builder);
  }
  params.end_bucket_group();
  place_boundaries();
}

Stage::Place Stage::place(Lifetime lifetime, Shape shape, DType dtype) {
  std::size_t& bytes = slot_bytes_[static_cast<std::size_t>(lifetime)];
  const Place out{lifetime, bytes, shape, dtype};
  bytes += aligned(static_cast<std::size_t>(shape.numel()) * size_of(dtype));
  return out;
}

void Stage::place_boundaries() {
  const Shape shape{dims_.local_tokens(), dims_.hidden};
  const bool has_embedding = layers_.front()->name() == "model.embed_tokens";
  const bool has_head = layers_.back()->fuses_backward();
  const std::size_t count = layers_.size();
  activations_.resize(count + 1);
  gradients_.resize(count + 1);
  for (std::size_t i = 0; i <= count; ++i) {
    if ((i == 0 && has_embedding) || (i == count && has_head)) continue;
    const Lifetime lifetime = i < count ? specs_[i].input_lifetime : Lifetime::kForwardToInput;
    activations_[i] = place(lifetime, shape, dims_.dtype);
    gradients_[i] = place(Lifetime::kInputToWeight, shape, dims_.dtype);
  }
}

void Stage::allocate(Arena& arena, const SlotCounts& slots) {
  for (std::size_t i = 0; i < kLifetimes; ++i) {
    pools_.emplace_back(arena, "activations", slot_bytes_[i], slots[i]);
    released_[i].resize(static_cast<std::size_t>(slots[i]));
  }
}

Event Stage::acquire(int microbatch, Lifetime lifetime) {
  const auto pool = static_cast<std::size_t>(lifetime);
  const int slot = pools_[pool].acquire();
  slots_.try_emplace(microbatch, Slots{-1, -1, -1}).first->second[pool] = slot;
  return released_[pool][static_cast<std::size_t>(slot)];
}

void Stage::release(Stream& compute, int microbatch, Lifetime lifetime) {
  const auto pool = static_cast<std::size_t>(lifetime);
  const auto found = slots_.find(microbatch);
  FRUGAL_CHECK(found != slots_.end(), "micro-batch ", microbatch, " holds no slot");
  int& slot = found->second[pool];
  compute.record(released_[pool][static_cast<std::size_t>(slot)]);
  pools_[pool].release(slot);
  slot = -1;
  if (found->second == Slots{-1, -1, -1}) slots_.erase(found);
}

Tensor Stage::view(int microbatch, const Place& place) const {
  const auto pool = static_cast<std::size_t>(place.lifetime);
  const auto found = slots_.find(microbatch);
  FRUGAL_CHECK(found != slots_.end(), "micro-batch ", microbatch, " is not in flight");
  const int slot = found->second[pool];
  if (slot < 0) return {};  // its lifetime is over, or has not begun
  return pools_[pool].view(slot, place.offset, place.shape, place.dtype);
}

Tensor Stage::boundary(const std::vector<std::optional<Place>>& places, std::size_t i,
                       int microbatch) const {
  return places[i] ? view(microbatch, *places[i]) : Tensor{};
}

Stash Stage::stash_of(int microbatch, std::size_t layer, std::vector<Tensor>& tensors) const {
  tensors.clear();
  for (const Place& stash : specs_[layer].stashes) tensors.push_back(view(microbatch, stash));
  return {.tensors = tensors,
          .input = boundary(activations_, layer, microbatch),
          .output_gradient = boundary(gradients_, layer + 1, microbatch)};
}

Event Stage::begin_forward(int microbatch) {
  const Event until_input = acquire(microbatch, Lifetime::kForwardToInput);
  const Event until_weight = acquire(microbatch, Lifetime::kForwardToWeight);
  const bool input_until_weight =
      activations_[0] && activations_[0]->lifetime == Lifetime::kForwardToWeight;
  return input_until_weight ? until_weight : until_input;
}

Tensor Stage::input(int microbatch) const {
  return boundary(activations_, 0, microbatch);
}
Tensor Stage::output(int microbatch) const {
  return boundary(activations_, layers_.size(), microbatch);
}
Tensor Stage::output_gradient(int microbatch) const {
  return boundary(gradients_, layers_.size(), microbatch);
}
Tensor Stage::input_gradient(int microbatch) const {
  return boundary(gradients_, 0, microbatch);
}

void Stage::forward(LayerContext& ctx, int microbatch) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Stash stash = stash_of(microbatch, i, tensors);
    layers_[i]->forward(ctx, stash.input, boundary(activations_, i + 1, microbatch), stash);
  }
}

void Stage::end_forward(Stream& compute, int microbatch) {
  release(compute, microbatch, Lifetime::kForwardToInput);
  release(compute, microbatch, Lifetime::kForwardToWeight);
}

Event Stage::begin_backward(int microbatch) {
  return acquire(microbatch, Lifetime::kInputToWeight);
}

void Stage::backward_input(LayerContext& ctx, int microbatch) {
  std::vector<Tensor> tensors;
  for (std::size_t i = layers_.size(); i-- > 0;) {
    const Stash stash = stash_of(microbatch, i, tensors);
    layers_[i]->backward_input(ctx, stash.output_gradient, boundary(gradients_, i, microbatch),
                               stash);
  }
  release(ctx.compute, microbatch, Lifetime::kForwardToInput);
}

void Stage::backward_weight(LayerContext& ctx, int microbatch) {
  std::vector<Tensor> tensors;
  for (std::size_t i = layers_.size(); i-- > 0;) {
    layers_[i]->backward_weight(ctx, stash_of(microbatch, i, tensors));
  }
}

void Stage::end_backward(Stream& compute, int microbatch) {
  release(compute, microbatch, Lifetime::kForwardToWeight);
  release(compute, microbatch, Lifetime::kInputToWeight);
}

}  // namespace frugal
