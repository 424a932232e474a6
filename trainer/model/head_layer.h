// The end of the model: final norm, projection to the vocabulary, cross-entropy. The logits of a
// micro-batch are never whole: tokens are taken in chunks, and a chunk's logits turn into their
// gradient in place. Hence the weight gradient is made in backward_input, while the chunk is at
// hand, and in training the loss too; forward does nothing then.
#pragma once

#include "trainer/model/linear.h"
#include "trainer/model/norm.h"

namespace frugal {

class HeadLayer final : public Layer {
 public:
  explicit HeadLayer(const ModelDimensions& dims) : dims_(dims) {}

  std::string_view name() const override { return "lm_head"; }
  void declare(LayerBuilder& builder) override;
  void forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash& stash) const override;
  void backward_input(LayerContext& ctx, ConstTensor dy, Tensor dx,
                      const Stash& stash) const override;
  void backward_weight(LayerContext&, const Stash&) const override {}
  bool fuses_backward() const override { return true; }
  double cost() const override;

 private:
  // Per-token statistics of one chunk over the whole vocabulary.
  struct ChunkStatistics {
    Tensor max_C, sum_exp_C, target_logit_C;
  };

  std::int64_t chunk_tokens() const;
  // The logits of Microbatch::logit_tokens, over the whole vocabulary on every tensor rank.
  void token_logits(LayerContext& ctx, ConstTensor x) const;
  // x through the norm, all tokens, in scratch.
  ConstTensor normed_tokens(LayerContext& ctx, ConstTensor x, const NormStatistics& stats) const;
  // Logits of tokens [begin, end) into scratch, and their losses into losses_T.
  Tensor chunk_logits(LayerContext& ctx, ConstTensor normed_TD, std::int64_t begin,
                      std::int64_t end) const;
  ChunkStatistics chunk_loss(LayerContext& ctx, ConstTensor logits_CV, ConstTensor targets_C,
                             Tensor loss_C) const;

  ModelDimensions dims_;
  Norm norm_;
  ParamId weight_ = -1;
};

}  // namespace frugal
