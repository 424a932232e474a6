// A linear map whose weight is [out, in], whole or split over the tensor axis (Shoeybi et al.,
// arXiv 1909.08053; with the tokens sharded between layers as in Korthikanti et al., arXiv
// 2205.05198). Legend: T all tokens of the micro-batch, L local tokens (T / tensor size), I in, O
// out; i, o this rank's parts.
#pragma once

#include <initializer_list>
#include <string>

#include "trainer/model/dimensions.h"
#include "trainer/model/layer.h"
#include "trainer/model/lora_adapter.h"

namespace frugal {

enum class Split : std::uint8_t {
  kColumn,  // the outputs are divided: x [T, I] -> y [T, o]
  kRow,  // the inputs are divided: x [T, i] -> partial sums [T, O], summed and dealt out by tokens:
         // y [L, O]
  kShared,  // every rank has the whole weight and computes some of the outputs, which other ranks
            // may compute too: x [T, I] -> y [T, o]. Its gradient is summed over the ranks.
};

struct LinearSpec {
  std::string name;  // "<name>.weight", "<name>.bias"
  std::int64_t in = 0, out = 0;
  Split split = Split::kColumn;
  bool bias = false;
  float init_stddev = 0.02F;
  std::int64_t begin = 0, end = 0;  // kShared: the outputs of this rank
};

// With an adapter where LoRA targets it; the map itself is frozen in such a model.
class Linear {
 public:
  void declare(LayerBuilder& builder, const ModelDimensions& dims, const LinearSpec& spec);
  // Whether backward_weight does anything and so reads what it is given.
  bool trained() const { return !frozen_ || adapter_.declared(); }

  struct Output {
    const Linear& map;
    Tensor y_To;
  };
  // kColumn, kShared, maps of one input: each y_To (=) x W^T + b.
  static void forward_group(LayerContext& ctx, std::initializer_list<Output> outputs,
                            ConstTensor x_TI);
  // kColumn: input_To (=) x W^T + b, y_To (=) gelu(input_To).
  void forward_gelu(LayerContext& ctx, Tensor y_To, Tensor input_To, ConstTensor x_TI) const;
  // kRow: y_LO (=) residual_LO + sum over the tensor group of x W^T + b. y and residual share no
  // memory.
  void forward_row(LayerContext& ctx, Tensor y_LO, ConstTensor x_Ti, ConstTensor residual_LO) const;
  // dx (= or +=) dy W. dy has all tokens: see gather_tokens.
  void backward_input(LayerContext& ctx, Tensor dx, ConstTensor dy, bool accumulate) const;
  // dinput (=) dy W gelu'(input): x was gelu(input). dy has all tokens.
  void backward_input_gelu(LayerContext& ctx, Tensor dinput, ConstTensor dy,
                           ConstTensor input) const;
  // dW += dy^T x, dy and x with all tokens; db += sum of dy_bias (else: dy; kRow: the local
  // tokens' dy). Of a frozen map the adapter's gradients alone.
  void backward_weight(LayerContext& ctx, ConstTensor dy, ConstTensor x, ConstTensor dy_bias) const;

 private:
  ConstTensor bias(const LayerContext& ctx) const;  // not given where there is none
  MatmulArgs product(const LayerContext& ctx, Tensor y_To, ConstTensor x_TI) const;

  ParamId weight_ = -1, bias_ = -1;
  WeightRows rows_;  // kShared: not all
  bool frozen_ = false;
  LoraAdapter adapter_;
};

// All tokens of the tensor group's shards: x_LD itself when the group has one rank, otherwise
// gathered into scratch (which must be marked by the caller).
ConstTensor gather_tokens(LayerContext& ctx, ConstTensor x_LD);
// Where to compute a sum over the tensor group that is dealt out by tokens: out_LD itself when the
// group has one rank, otherwise scratch for all tokens; reduce_scatter_tokens then fills out_LD.
Tensor partial_for(LayerContext& ctx, Tensor out_LD);
void reduce_scatter_tokens(LayerContext& ctx, ConstTensor partial_TD, Tensor out_LD);

}  // namespace frugal
