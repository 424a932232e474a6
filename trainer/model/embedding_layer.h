// y = token embedding (+ learned position embedding, GPT-2). The table's rows are divided over the
// tensor axis.
#pragma once

#include "trainer/model/dimensions.h"
#include "trainer/model/layer.h"

namespace frugal {

inline constexpr std::string_view kEmbeddingName = "model.embed_tokens.weight";

// The declaration that the table and a head of the same shape share.
ParamSpec vocabulary_spec(const ModelDimensions& dims, std::string_view name);

class EmbeddingLayer final : public Layer {
 public:
  explicit EmbeddingLayer(const ModelDimensions& dims) : dims_(dims) {}

  std::string_view name() const override { return "model.embed_tokens"; }
  void declare(LayerBuilder& builder) override;
  void forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash& stash) const override;
  void backward_input(LayerContext&, ConstTensor, Tensor, const Stash&) const override {}
  void backward_weight(LayerContext& ctx, const Stash& stash) const override;
  double cost() const override { return static_cast<double>(dims_.tokens * dims_.hidden); }

 private:
  ModelDimensions dims_;
  ParamId table_ = -1, positions_ = -1;
};

}  // namespace frugal
