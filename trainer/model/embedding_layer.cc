// Legend: T all tokens, L local tokens, D width, V this rank's rows of the vocabulary.
#include "trainer/model/embedding_layer.h"

#include "kernels/ops/embedding.h"
#include "trainer/model/linear.h"
#include "trainer/model/param_store.h"

namespace frugal {

ParamSpec vocabulary_spec(const ModelDimensions& dims, std::string_view name) {
  ParamSpec spec{.name = std::string(name),
                 .global = {dims.vocab, dims.hidden},
                 .local = {dims.vocab_rows(), dims.hidden},
                 .valid = {dims.vocab_valid_rows(), dims.hidden},
                 .sharded = true,
                 .decay = true,
                 .init = {ParamInit::Kind::kNormal, dims.initializer_range}};
  spec.offset[0] = dims.vocab_begin();
  return spec;
}

void EmbeddingLayer::declare(LayerBuilder& builder) {
  ParamSpec table = vocabulary_spec(dims_, kEmbeddingName);
  if (dims_.tied) table.tie = ParamTie::kOwner;
  table_ = builder.param(table);
  if (dims_.learned_positions) {
    const Shape shape{dims_.max_positions, dims_.hidden};
    positions_ = builder.param({.name = "model.embed_positions.weight",
                                .global = shape,
                                .local = shape,
                                .valid = shape,
                                .decay = true,
                                .init = {ParamInit::Kind::kNormal, dims_.initializer_range}});
  }
}

void EmbeddingLayer::forward(LayerContext& ctx, ConstTensor, Tensor y, const Stash&) const {
  const Workspace::Mark mark(ctx.scratch);
  const Tensor partial = partial_for(ctx, y);
  ops::embedding_forward(ctx.compute, {.out_TD = partial,
                                       .table_VD = ctx.params.weight(table_),
                                       .ids_T = ctx.microbatch.ids_T,
                                       .row_begin = dims_.vocab_begin()});
  reduce_scatter_tokens(ctx, partial, y);
  if (positions_ < 0) return;
  const std::int64_t begin = dims_.tensor_rank * dims_.local_tokens();
  ops::embedding_forward(
      ctx.compute, {.out_TD = y,
                    .table_VD = ctx.params.weight(positions_),
                    .ids_T = ctx.microbatch.positions_T.slice(begin, begin + dims_.local_tokens()),
                    .accumulate = true});
}

void EmbeddingLayer::backward_weight(LayerContext& ctx, const Stash& stash) const {
  if (!ctx.params.trained(table_)) return;
  const Workspace::Mark mark(ctx.scratch);
  const ConstTensor dy = gather_tokens(ctx, stash.output_gradient);
  ops::embedding_backward_weight(ctx.compute, ctx.params.grad(table_), dy, ctx.microbatch.ids_T,
                                 dims_.vocab_begin());
  if (positions_ < 0) return;
  const std::int64_t begin = dims_.tensor_rank * dims_.local_tokens();
  ops::embedding_backward_weight(
      ctx.compute, ctx.params.grad(positions_), stash.output_gradient,
      ctx.microbatch.positions_T.slice(begin, begin + dims_.local_tokens()), 0);
}

}  // namespace frugal
