// A layer: three verbs, no per-step state. A model is a flat list of layers, each with its own
// residual add.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "comm/process_group.h"
#include "kernels/core/stream.h"
#include "kernels/core/workspace.h"
#include "kernels/ops/matmul.h"
#include "trainer/model/param.h"

namespace frugal {

class ParamStore;
using StashId = int;

// How long a stashed tensor lives. The planner gives each kind its own pool, as large as the
// schedule's simulation says.
enum class Lifetime : std::uint8_t {
  kForwardToInput,   // written by forward, last read by backward_input
  kForwardToWeight,  // written by forward, last read by backward_weight
  kInputToWeight,    // written by backward_input, read by backward_weight
};
inline constexpr int kLifetimes = 3;

// A layer declares what it owns and what it keeps. Nothing is allocated here, so the same code
// plans memory.
class LayerBuilder {
 public:
  virtual ~LayerBuilder() = default;
  virtual ParamId param(const ParamSpec& spec) = 0;
  virtual StashId stash(std::string_view name, Shape shape, DType dtype, Lifetime lifetime) = 0;
  // The layer's input, which the stage owns, stays readable as Stash::input: no copy.
  // kForwardToInput or kForwardToWeight.
  virtual void keep_input(Lifetime lifetime) = 0;
};

// The saved tensors of one micro-batch in one layer: views into the stage's slots. Tensors whose
// lifetime is over are null.
struct Stash {
  std::span<const Tensor> tensors;  // by StashId
  ConstTensor input;
  ConstTensor output_gradient;
  Tensor operator[](StashId id) const { return tensors[static_cast<std::size_t>(id)]; }
};

// Keys and values of earlier tokens, in generation. A row is a token's: [rows, M, H], of this
// rank's heads.
struct KvCache {
  struct Layer {
    Tensor k_RMH, v_RMH;
  };
  std::span<const Layer> layers;  // by transformer layer; null where another stage has it
  // i32, of the micro-batch's tokens: the row that keeps its key and value (-1: none), and the
  // first and last row that it sees.
  ConstTensor rows_T, first_row_T, last_row_T;
  // The micro-batch is one sequence from its beginning: its tokens see nothing else.
  bool fresh = false;
};

// One micro-batch's tokens on the device. All tensor ranks hold all of them.
struct Microbatch {
  ConstTensor ids_T, targets_T;  // i32; a target of -1 is ignored
  ConstTensor positions_T;       // i32: as rotary or learned positions count them
  ConstTensor document_start_T;  // i32; not given without document mask
  Tensor loss_1;                 // f32: the head adds the sum of the tokens' losses to it
  float loss_scale = 1.0F;       // gradient of the objective with respect to one token's loss
  // Given in generation: the cache, and instead of a loss, the head writes (=) the logits of token
  // logit_tokens[b] to row b. f32 [rows, vocab].
  const KvCache* cache = nullptr;
  std::span<const std::int64_t> logit_tokens;
  Tensor logits_BV;
};

struct LayerContext {
  Stream& compute;  // ops and tensor-parallel collectives
  Workspace& scratch;
  ProcessGroup& tensor_group;
  ParamStore& params;
  const Microbatch& microbatch;
  bool training = true;  // false: forward only; the head computes the loss in forward
  bool tf32 = false;     // MatmulArgs::tf32 of every product

  // ops::matmul and ops::matmul_group on compute.
  void multiply(MatmulArgs args) const {
    args.tf32 = tf32;
    ops::matmul(compute, args);
  }
  void multiply_group(std::span<MatmulArgs> products) const {
    for (MatmulArgs& args : products) args.tf32 = tf32;
    ops::matmul_group(compute, products);
  }
};

// What backward_weight reads of a layer is stashed, and the id of what it does not read, as its
// weights are frozen, may be -1: then it is scratch, which the caller marks.
inline Tensor stashed_or_scratch(LayerContext& ctx, const Stash& stash, StashId id, Shape shape,
                                 DType dtype) {
  return id >= 0 ? stash[id] : ctx.scratch.allocate(shape, dtype);
}

// The verbs are const and enqueue on ctx.compute: any number of micro-batches can be in flight.
class Layer {
 public:
  virtual ~Layer() = default;
  virtual std::string_view name() const = 0;
  // Called once, before any verb; remembers ids.
  virtual void declare(LayerBuilder& builder) = 0;
  // Activations are [local tokens, D]. y written (=). The embedding ignores x, the head ignores y.
  virtual void forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash& stash) const = 0;
  // dx written (=). Stashes whatever backward_weight will need.
  virtual void backward_input(LayerContext& ctx, ConstTensor dy, Tensor dx,
                              const Stash& stash) const = 0;
  // Weight gradients accumulated (+=). Reads the stash and nothing else.
  virtual void backward_weight(LayerContext& ctx, const Stash& stash) const = 0;
  // True for a layer that accumulates its weight gradients in backward_input already (the head: it
  // never holds all logits).
  virtual bool fuses_backward() const { return false; }
  // Relative computing time of forward, for the split into stages; backward verbs are taken to cost
  // as much each.
  virtual double cost() const = 0;
};

}  // namespace frugal
