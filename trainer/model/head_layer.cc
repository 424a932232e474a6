// Legend: T all tokens, L local tokens, D width, C tokens of a chunk, V this rank's rows of the
// vocabulary.
#include "trainer/model/head_layer.h"

#include <algorithm>

#include "kernels/ops/elementwise.h"
#include "kernels/ops/loss.h"
#include "trainer/model/embedding_layer.h"
#include "trainer/model/param_store.h"

namespace frugal {

std::int64_t HeadLayer::chunk_tokens() const {
  const std::int64_t most = std::max(std::int64_t{1}, dims_.chunk_logits / dims_.vocab_rows());
  const std::int64_t chunks = (dims_.tokens + most - 1) / most;
  const std::int64_t multiple = dims_.chunk_multiple;
  const std::int64_t alike = dims_.chunks_alike ? (dims_.tokens + chunks - 1) / chunks : most;
  return chunks == 1 ? alike : (alike + multiple - 1) / multiple * multiple;
}

double HeadLayer::cost() const {
  return 2.0 * static_cast<double>(dims_.tokens) * static_cast<double>(dims_.hidden) *
         static_cast<double>(dims_.vocab_rows() * dims_.tensor_size);
}

void HeadLayer::declare(LayerBuilder& builder) {
  norm_.declare(builder, dims_, "model.norm");
  ParamSpec spec = vocabulary_spec(dims_, dims_.tied ? kEmbeddingName : "lm_head.weight");
  if (dims_.tied) spec.tie = ParamTie::kCopy;
  weight_ = builder.param(spec);
  builder.keep_input(Lifetime::kForwardToInput);
}

ConstTensor HeadLayer::normed_tokens(LayerContext& ctx, ConstTensor x,
                                     const NormStatistics& stats) const {
  const Tensor normed = ctx.scratch.allocate(x.shape, x.dtype);
  norm_.forward(ctx, normed, x, stats);
  return gather_tokens(ctx, normed);
}

Tensor HeadLayer::chunk_logits(LayerContext& ctx, ConstTensor normed_TD, std::int64_t begin,
                               std::int64_t end) const {
  const Tensor logits = ctx.scratch.allocate({end - begin, dims_.vocab_rows()}, dims_.dtype);
  ctx.multiply({.out_MN = logits,
                .a = normed_TD.slice(begin, end),
                .b = ctx.params.weight(weight_),
                .transpose_b = true});
  return logits;
}

HeadLayer::ChunkStatistics HeadLayer::chunk_loss(LayerContext& ctx, ConstTensor logits_CV,
                                                 ConstTensor targets_C, Tensor loss_C) const {
  const Shape shape{logits_CV.shape[0]};
  const auto allocate = [&] { return ctx.scratch.allocate(shape, DType::kF32); };
  const Tensor local_max = allocate();
  ChunkStatistics stats{local_max, allocate(), allocate()};
  ops::cross_entropy_statistics(ctx.compute, {.max_C = local_max,
                                              .sum_exp_C = stats.sum_exp_C,
                                              .target_logit_C = stats.target_logit_C,
                                              .logits_CV = logits_CV,
                                              .targets_C = targets_C,
                                              .column_begin = dims_.vocab_begin(),
                                              .valid_columns = dims_.vocab_valid_rows()});
  if (ctx.tensor_group.size() > 1) {
    stats.max_C = allocate();
    ops::cast(ctx.compute, stats.max_C, local_max);
    ctx.tensor_group.all_reduce(stats.max_C, ReduceOp::kMax, ctx.compute);
    ops::cross_entropy_rescale(ctx.compute, stats.sum_exp_C, local_max, stats.max_C);
    ctx.tensor_group.all_reduce(stats.sum_exp_C, ReduceOp::kSum, ctx.compute);
    ctx.tensor_group.all_reduce(stats.target_logit_C, ReduceOp::kSum, ctx.compute);
  }
  ops::cross_entropy_loss(ctx.compute, {.loss_C = loss_C,
                                        .max_C = stats.max_C,
                                        .sum_exp_C = stats.sum_exp_C,
                                        .target_logit_C = stats.target_logit_C,
                                        .targets_C = targets_C});
  return stats;
}

void HeadLayer::forward(LayerContext& ctx, ConstTensor x, Tensor, const Stash&) const {
  if (ctx.training) return;
  if (!ctx.microbatch.logit_tokens.empty()) return token_logits(ctx, x);
  const Workspace::Mark mark(ctx.scratch);
  const ConstTensor normed =
      normed_tokens(ctx, x, norm_.scratch_statistics(ctx.scratch, x.shape[0]));
  const Tensor losses = ctx.scratch.allocate({dims_.tokens}, DType::kF32);
  for (std::int64_t begin = 0; begin < dims_.tokens; begin += chunk_tokens()) {
    const std::int64_t end = std::min(dims_.tokens, begin + chunk_tokens());
    const Workspace::Mark chunk_mark(ctx.scratch);
    const Tensor logits = chunk_logits(ctx, normed, begin, end);
    chunk_loss(ctx, logits, ctx.microbatch.targets_T.slice(begin, end), losses.slice(begin, end));
  }
  ops::sum_accumulate(ctx.compute, ctx.microbatch.loss_1, losses);
}

void HeadLayer::backward_input(LayerContext& ctx, ConstTensor, Tensor dx,
                               const Stash& stash) const {
  const Workspace::Mark mark(ctx.scratch);
  const NormStatistics stats = norm_.scratch_statistics(ctx.scratch, stash.input.shape[0]);
  const ConstTensor normed = normed_tokens(ctx, stash.input, stats);
  const Tensor losses = ctx.scratch.allocate({dims_.tokens}, DType::kF32);
  const Tensor dnormed = ctx.scratch.allocate(stash.input.shape, dims_.dtype);
  const Tensor partial = partial_for(ctx, dnormed);
  for (std::int64_t begin = 0; begin < dims_.tokens; begin += chunk_tokens()) {
    const std::int64_t end = std::min(dims_.tokens, begin + chunk_tokens());
    const Workspace::Mark chunk_mark(ctx.scratch);
    const ConstTensor targets = ctx.microbatch.targets_T.slice(begin, end);
    const Tensor logits = chunk_logits(ctx, normed, begin, end);
    const ChunkStatistics chunk = chunk_loss(ctx, logits, targets, losses.slice(begin, end));
    ops::cross_entropy_backward_input(ctx.compute, {.logits_CV = logits,
                                                    .max_C = chunk.max_C,
                                                    .sum_exp_C = chunk.sum_exp_C,
                                                    .targets_C = targets,
                                                    .column_begin = dims_.vocab_begin(),
                                                    .valid_columns = dims_.vocab_valid_rows(),
                                                    .scale = ctx.microbatch.loss_scale});
    ctx.multiply(
        {.out_MN = partial.slice(begin, end), .a = logits, .b = ctx.params.weight(weight_)});
    if (!ctx.params.trained(weight_)) continue;
    ctx.multiply({.out_MN = ctx.params.grad(weight_),
                  .a = logits,
                  .b = normed.slice(begin, end),
                  .transpose_a = true,
                  .accumulate = true});
  }
  ops::sum_accumulate(ctx.compute, ctx.microbatch.loss_1, losses);
  reduce_scatter_tokens(ctx, partial, dnormed);
  if (norm_.trained()) norm_.backward_weight(ctx, dnormed, stash.input, stats);
  norm_.backward_input(ctx, {.dx_TD = dx, .dy_TD = dnormed, .x_TD = stash.input}, stats);
}

void HeadLayer::token_logits(LayerContext& ctx, ConstTensor x) const {
  const Workspace::Mark mark(ctx.scratch);
  const ConstTensor normed =
      normed_tokens(ctx, x, norm_.scratch_statistics(ctx.scratch, x.shape[0]));
  const auto tokens = ctx.microbatch.logit_tokens;
  const std::int64_t count = std::ssize(tokens), rows = dims_.vocab_rows();
  const Tensor chosen = ctx.scratch.allocate({count, dims_.hidden}, dims_.dtype);
  const Tensor local = ctx.scratch.allocate({count, rows}, DType::kF32);
  const Tensor all = ctx.scratch.allocate({rows * dims_.tensor_size}, DType::kF32);
  for (std::int64_t b = 0; b < count; ++b) {
    const std::int64_t token = tokens[static_cast<std::size_t>(b)];
    ops::copy(ctx.compute, chosen.slice(b, b + 1), normed.slice(token, token + 1));
  }
  ctx.multiply(
      {.out_MN = local, .a = chosen, .b = ctx.params.weight(weight_), .transpose_b = true});
  for (std::int64_t b = 0; b < count; ++b) {
    ctx.tensor_group.all_gather(local.slice(b, b + 1).reshape({rows}), all, ctx.compute);
    ops::cast(ctx.compute, ctx.microbatch.logits_BV.slice(b, b + 1).reshape({dims_.vocab}),
              all.slice(0, dims_.vocab));
  }
}

}  // namespace frugal
