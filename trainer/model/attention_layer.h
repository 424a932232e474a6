// y = x + o_proj(attention(norm(x))): grouped-query causal attention with rotary positions, or none
// where the embedding adds them; with qk_norm, every head's query and key pass an RMSNorm before.
#pragma once

#include <memory>

#include "trainer/model/linear.h"
#include "trainer/model/norm.h"

namespace frugal {

// Cosines and sines of all positions, [S, 2, head_dim / 2] f32; made once per rank and shared by
// its layers. Enqueues the copy from its mirror in host (Arena::mirror), if it has one.
Tensor make_rope_table(const ModelDimensions& dims, Arena& arena, Arena& host, Stream& stream);

// Radians that pair `pair` of a head turns per position.
double rope_frequency(const ModelDimensions& dims, std::int64_t pair);

class AttentionLayer final : public Layer {
 public:
  // rope_table may be null with learned positions; it must outlive the layer.
  AttentionLayer(const ModelDimensions& dims, int index, Tensor rope_table);

  std::string_view name() const override { return name_; }
  void declare(LayerBuilder& builder) override;
  void forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash& stash) const override;
  void backward_input(LayerContext& ctx, ConstTensor dy, Tensor dx,
                      const Stash& stash) const override;
  void backward_weight(LayerContext& ctx, const Stash& stash) const override;
  double cost() const override;

 private:
  Shape query_shape() const { return {dims_.tokens, dims_.local_heads(), dims_.head_dim}; }
  Shape key_shape() const { return {dims_.tokens, dims_.local_kv_heads(), dims_.head_dim}; }
  Shape outer() const { return {dims_.local_tokens(), dims_.hidden}; }
  bool trains_inputs() const { return q_proj_.trained() || k_proj_.trained() || v_proj_.trained(); }
  float scale() const;
  void declare_projections(LayerBuilder& builder);
  void declare_qk_norm(LayerBuilder& builder);
  void declare_gradients(LayerBuilder& builder);
  void attend(LayerContext& ctx, const Stash& stash) const;
  void normalize(LayerContext& ctx, const Stash& stash) const;
  // Of the heads, and of what the projections give, which without qk_norm is the same.
  struct Gradients {
    Tensor dq, dk, dv, dq_projected, dk_projected;
  };
  Gradients place_gradients(LayerContext& ctx, const Stash& stash) const;
  void attend_backward(LayerContext& ctx, Tensor dout, const Gradients& gradients,
                       const Stash& stash) const;

  ModelDimensions dims_;
  int index_;
  std::string name_;
  Tensor rope_table_;
  Norm norm_, q_norm_, k_norm_;
  Linear q_proj_, k_proj_, v_proj_, o_proj_;
  // -1: not kept, see stashed_or_scratch().
  StashId normed_ = -1, q_ = -1, k_ = -1, v_ = -1, out_ = -1, lse_ = -1;
  StashId dq_ = -1, dk_ = -1, dv_ = -1, dnormed_ = -1;
  // What the projections give, and its gradient; without qk_norm the former is q and k, and the
  // latter their gradients.
  StashId q_projected_ = -1, k_projected_ = -1, dq_projected_ = -1, dk_projected_ = -1;
};

}  // namespace frugal
