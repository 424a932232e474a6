// Consecutive layers on one rank, plus the slots of the micro-batches in flight.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/core/slot_pool.h"
#include "trainer/model/dimensions.h"
#include "trainer/model/layer.h"
#include "trainer/model/param_store.h"

namespace frugal {

// How many micro-batches hold tensors of each Lifetime at once (schedule.h: ScheduleReport).
using SlotCounts = std::array<int, kLifetimes>;

// Between two layers of a stage lie an activation and its gradient; they live in slots like what
// the layers stash, so that layers keep their inputs without copies. A micro-batch's life:
// begin_forward, forward, begin_backward, backward_input, backward_weight; in evaluation
// begin_forward, forward, end_forward. One thread.
class Stage {
 public:
  // Declares the layers' parameters in params.
  Stage(const ModelDimensions& dims, std::vector<std::unique_ptr<Layer>> layers,
        ParamStore& params);

  std::size_t slot_bytes(Lifetime lifetime) const {
    return slot_bytes_[static_cast<std::size_t>(lifetime)];
  }
  void allocate(Arena& arena, const SlotCounts& slots);

  // Takes the slots of a micro-batch's forward. A receive into input() on another stream must wait
  // for the event that is returned.
  Event begin_forward(int microbatch);
  Tensor input(int microbatch) const;   // [local tokens, D]; null for the embedding's stage
  Tensor output(int microbatch) const;  // null for the head's stage
  void forward(LayerContext& ctx, int microbatch);
  // Gives the slots back without a backward, when ctx.compute has passed this point.
  void end_forward(Stream& compute, int microbatch);

  // Takes the slot of its backward; likewise for a receive into output_gradient().
  Event begin_backward(int microbatch);
  Tensor output_gradient(int microbatch) const;  // null for the head's stage
  Tensor input_gradient(int microbatch) const;   // null for the embedding's stage
  void backward_input(LayerContext& ctx, int microbatch);
  void backward_weight(LayerContext& ctx, int microbatch);
  // Gives the remaining slots back, when compute has passed this point.
  void end_backward(Stream& compute, int microbatch);

  // The layers, and the ids of the parameters that each declared.
  const Layer& layer(std::size_t i) const { return *layers_[i]; }
  const std::vector<ParamId>& params_of(std::size_t i) const { return specs_[i].params; }
  std::size_t layer_count() const { return layers_.size(); }

 private:
  struct Place {
    Lifetime lifetime{};
    std::size_t offset = 0;
    Shape shape;
    DType dtype = DType::kF32;
  };
  struct LayerSpec {
    std::vector<ParamId> params;
    std::vector<Place> stashes;
    Lifetime input_lifetime = Lifetime::kForwardToInput;
  };
  // The slot that a micro-batch holds in each pool; -1: none.
  using Slots = std::array<int, kLifetimes>;
  class Builder;

  Place place(Lifetime lifetime, Shape shape, DType dtype);
  void place_boundaries();
  Tensor view(int microbatch, const Place& place) const;
  Tensor boundary(const std::vector<std::optional<Place>>& places, std::size_t i,
                  int microbatch) const;
  Stash stash_of(int microbatch, std::size_t layer, std::vector<Tensor>& tensors) const;
  Event acquire(int microbatch, Lifetime lifetime);
  void release(Stream& compute, int microbatch, Lifetime lifetime);

  ModelDimensions dims_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<LayerSpec> specs_;
  std::vector<std::optional<Place>> activations_;  // before each layer, and after the last
  std::vector<std::optional<Place>> gradients_;    // alike
  std::array<std::size_t, kLifetimes> slot_bytes_{};
  std::vector<SlotPool> pools_;                          // by Lifetime
  std::array<std::vector<Event>, kLifetimes> released_;  // by slot: when compute is done with it
  std::map<int, Slots> slots_;                           // by micro-batch
};

}  // namespace frugal
