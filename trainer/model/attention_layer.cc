// Legend: L local tokens, T all tokens, D width, N query heads, M key/value heads, H head dimension
// (heads: this rank's).
#include "trainer/model/attention_layer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/ops/attention.h"
#include "kernels/ops/cache.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/rope.h"
#include "trainer/model/param_store.h"

namespace frugal {
namespace {

// Heads side by side: what a linear map reads and writes.
ConstTensor flat(const Tensor& t) {
  return t.reshape({t.shape[0], t.shape[1] * t.shape[2]});
}
Tensor flat_out(const Tensor& t) {
  return t.reshape({t.shape[0], t.shape[1] * t.shape[2]});
}
// Heads below each other: what the norm of queries and keys reads and writes.
Tensor rows(const Tensor& t) {
  return t.reshape({t.shape[0] * t.shape[1], t.shape[2]});
}

}  // namespace

AttentionLayer::AttentionLayer(const ModelDimensions& dims, int index, Tensor rope_table)
    : dims_(dims),
      index_(index),
      name_(concat("model.layers.", index, ".self_attn")),
      rope_table_(rope_table) {}

float AttentionLayer::scale() const {
  return 1.0F / std::sqrt(static_cast<float>(dims_.head_dim));
}

double AttentionLayer::cost() const {
  const auto tokens = static_cast<double>(dims_.tokens);
  const double projections =
      2.0 * tokens * static_cast<double>(dims_.hidden) *
      static_cast<double>(2 * (dims_.heads + dims_.kv_heads) * dims_.head_dim);
  const double scores = 2.0 * tokens * static_cast<double>(dims_.sequence_length) *
                        static_cast<double>(dims_.heads * dims_.head_dim);
  return projections + scores;
}

void AttentionLayer::declare_projections(LayerBuilder& builder) {
  const std::int64_t query_width = dims_.heads * dims_.head_dim;
  LinearSpec into{.in = dims_.hidden,
                  .out = query_width,
                  .split = Split::kColumn,
                  .bias = dims_.qkv_bias,
                  .init_stddev = dims_.initializer_range};
  into.name = name_ + ".q_proj";
  q_proj_.declare(builder, dims_, into);
  into.out = dims_.kv_heads * dims_.head_dim;
  if (dims_.shared_kv_heads()) {
    into.split = Split::kShared;
    into.begin = dims_.first_kv_head() * dims_.head_dim;
    into.end = into.begin + dims_.head_dim;
  }
  into.name = name_ + ".k_proj";
  k_proj_.declare(builder, dims_, into);
  into.name = name_ + ".v_proj";
  v_proj_.declare(builder, dims_, into);
  o_proj_.declare(builder, dims_,
                  {.name = name_ + ".o_proj",
                   .in = query_width,
                   .out = dims_.hidden,
                   .split = Split::kRow,
                   .bias = dims_.output_bias,
                   .init_stddev = dims_.initializer_range /
                                  std::sqrt(2.0F * static_cast<float>(dims_.layers))});
}

void AttentionLayer::declare_qk_norm(LayerBuilder& builder) {
  q_projected_ = q_;
  k_projected_ = k_;
  if (!dims_.qk_norm) return;
  const auto declare = [&](Norm& norm, const char* part, std::int64_t heads) {
    norm.declare(builder, {.name = name_ + part,
                           .width = dims_.head_dim,
                           .eps = dims_.norm_eps,
                           .frozen = dims_.lora.rank > 0});
    norm.declare_statistics(builder, dims_.tokens * heads);
  };
  declare(q_norm_, ".q_norm", dims_.local_heads());
  declare(k_norm_, ".k_norm", dims_.local_kv_heads());
  const Lifetime projected =
      q_norm_.trained() ? Lifetime::kForwardToWeight : Lifetime::kForwardToInput;
  q_projected_ = builder.stash("projected q", query_shape(), dims_.dtype, projected);
  k_projected_ = builder.stash("projected k", key_shape(), dims_.dtype, projected);
}

void AttentionLayer::declare_gradients(LayerBuilder& builder) {
  const auto stash = [&](bool kept, const char* name, Shape shape) {
    return kept ? builder.stash(name, shape, dims_.dtype, Lifetime::kInputToWeight) : -1;
  };
  // The norms read the gradients of the heads, the projections those of what they give.
  dq_ = stash(dims_.qk_norm ? q_norm_.trained() : q_proj_.trained(), "dq", query_shape());
  dk_ = stash(dims_.qk_norm ? k_norm_.trained() : k_proj_.trained(), "dk", key_shape());
  dv_ = stash(v_proj_.trained(), "dv", key_shape());
  dnormed_ = stash(norm_.trained(), "dnormed", outer());
  dq_projected_ = dq_;
  dk_projected_ = dk_;
  if (!dims_.qk_norm) return;
  dq_projected_ = stash(q_proj_.trained(), "projected dq", query_shape());
  dk_projected_ = stash(k_proj_.trained(), "projected dk", key_shape());
}

void AttentionLayer::declare(LayerBuilder& builder) {
  const std::string layer = name_.substr(0, name_.rfind('.'));
  norm_.declare(builder, dims_, layer + ".input_layernorm");
  declare_projections(builder);

  const DType dtype = dims_.dtype;
  const auto until = [](bool trained) {
    return trained ? Lifetime::kForwardToWeight : Lifetime::kForwardToInput;
  };
  builder.keep_input(until(norm_.trained()));
  norm_.declare_statistics(builder, dims_);
  if (trains_inputs()) {
    normed_ = builder.stash("normed", outer(), dtype, Lifetime::kForwardToWeight);
  }
  q_ = builder.stash("q", query_shape(), dtype, Lifetime::kForwardToInput);
  k_ = builder.stash("k", key_shape(), dtype, Lifetime::kForwardToInput);
  v_ = builder.stash("v", key_shape(), dtype, Lifetime::kForwardToInput);
  out_ = builder.stash("attention", query_shape(), dtype, until(o_proj_.trained()));
  lse_ = builder.stash("lse", {dims_.tokens, dims_.local_heads()}, DType::kF32,
                       Lifetime::kForwardToInput);
  declare_qk_norm(builder);
  declare_gradients(builder);
}

void AttentionLayer::normalize(LayerContext& ctx, const Stash& stash) const {
  q_norm_.forward(ctx, rows(stash[q_]), rows(stash[q_projected_]), q_norm_.statistics(stash));
  k_norm_.forward(ctx, rows(stash[k_]), rows(stash[k_projected_]), k_norm_.statistics(stash));
}

AttentionLayer::Gradients AttentionLayer::place_gradients(LayerContext& ctx,
                                                          const Stash& stash) const {
  const auto place = [&](StashId id, Shape shape) {
    return stashed_or_scratch(ctx, stash, id, shape, dims_.dtype);
  };
  Gradients out{.dq = place(dq_, query_shape()),
                .dk = place(dk_, key_shape()),
                .dv = place(dv_, key_shape()),
                .dq_projected = {},
                .dk_projected = {}};
  out.dq_projected = dims_.qk_norm ? place(dq_projected_, query_shape()) : out.dq;
  out.dk_projected = dims_.qk_norm ? place(dk_projected_, key_shape()) : out.dk;
  return out;
}

void AttentionLayer::attend_backward(LayerContext& ctx, Tensor dout, const Gradients& gradients,
                                     const Stash& stash) const {
  ops::attention_backward_input(ctx.compute, {.dq_TNH = gradients.dq,
                                              .dk_TMH = gradients.dk,
                                              .dv_TMH = gradients.dv,
                                              .dout_TNH = dout,
                                              .q_TNH = stash[q_],
                                              .k_TMH = stash[k_],
                                              .v_TMH = stash[v_],
                                              .out_TNH = stash[out_],
                                              .lse_TN = stash[lse_],
                                              .document_start_T = ctx.microbatch.document_start_T,
                                              .sequence_length = dims_.sequence_length,
                                              .scale = scale()});
  if (!dims_.learned_positions) {
    const ConstTensor positions = ctx.microbatch.positions_T;
    ops::rope_backward_input(ctx.compute, gradients.dq, rope_table_, positions);
    ops::rope_backward_input(ctx.compute, gradients.dk, rope_table_, positions);
  }
  if (!dims_.qk_norm) return;
  q_norm_.backward_input(ctx,
                         {.dx_TD = rows(gradients.dq_projected),
                          .dy_TD = rows(gradients.dq),
                          .x_TD = rows(stash[q_projected_])},
                         q_norm_.statistics(stash));
  k_norm_.backward_input(ctx,
                         {.dx_TD = rows(gradients.dk_projected),
                          .dy_TD = rows(gradients.dk),
                          .x_TD = rows(stash[k_projected_])},
                         k_norm_.statistics(stash));
}

void AttentionLayer::attend(LayerContext& ctx, const Stash& stash) const {
  const KvCache* cache = ctx.microbatch.cache;
  if (cache != nullptr) {
    const KvCache::Layer& layer = cache->layers[static_cast<std::size_t>(index_)];
    ops::rows_store(ctx.compute, flat_out(layer.k_RMH), cache->rows_T, flat(stash[k_]));
    ops::rows_store(ctx.compute, flat_out(layer.v_RMH), cache->rows_T, flat(stash[v_]));
    if (!cache->fresh) {
      return ops::attention_cached_forward(ctx.compute, {.out_TNH = stash[out_],
                                                         .q_TNH = stash[q_],
                                                         .k_RMH = layer.k_RMH,
                                                         .v_RMH = layer.v_RMH,
                                                         .first_row_T = cache->first_row_T,
                                                         .last_row_T = cache->last_row_T,
                                                         .scale = scale()});
    }
  }
  ops::attention_forward(ctx.compute, {.out_TNH = stash[out_],
                                       .lse_TN = stash[lse_],
                                       .q_TNH = stash[q_],
                                       .k_TMH = stash[k_],
                                       .v_TMH = stash[v_],
                                       .document_start_T = ctx.microbatch.document_start_T,
                                       .sequence_length = dims_.sequence_length,
                                       .scale = scale()});
}

void AttentionLayer::forward(LayerContext& ctx, ConstTensor x, Tensor y, const Stash& stash) const {
  {
    const Workspace::Mark mark(ctx.scratch);
    const Tensor local = stashed_or_scratch(ctx, stash, normed_, outer(), dims_.dtype);
    norm_.forward(ctx, local, x, norm_.statistics(stash));
    const ConstTensor normed = gather_tokens(ctx, local);
    Linear::forward_group(ctx,
                          {{q_proj_, flat_out(stash[q_projected_])},
                           {k_proj_, flat_out(stash[k_projected_])},
                           {v_proj_, flat_out(stash[v_])}},
                          normed);
  }
  if (dims_.qk_norm) normalize(ctx, stash);
  if (!dims_.learned_positions) {
    const ConstTensor positions = ctx.microbatch.positions_T;
    ops::rope_forward(ctx.compute, stash[q_], rope_table_, positions);
    ops::rope_forward(ctx.compute, stash[k_], rope_table_, positions);
  }
  attend(ctx, stash);
  o_proj_.forward_row(ctx, y, flat(stash[out_]), x);
}

void AttentionLayer::backward_input(LayerContext& ctx, ConstTensor dy, Tensor dx,
                                    const Stash& stash) const {
  const Workspace::Mark mark(ctx.scratch);
  const Tensor dnormed = stashed_or_scratch(ctx, stash, dnormed_, outer(), dims_.dtype);
  const Gradients gradients = place_gradients(ctx, stash);
  const Tensor dout = ctx.scratch.allocate(query_shape(), dims_.dtype);
  o_proj_.backward_input(ctx, flat_out(dout), gather_tokens(ctx, dy), false);
  attend_backward(ctx, dout, gradients, stash);
  const Tensor partial = partial_for(ctx, dnormed);
  q_proj_.backward_input(ctx, partial, flat(gradients.dq_projected), false);
  k_proj_.backward_input(ctx, partial, flat(gradients.dk_projected), true);
  v_proj_.backward_input(ctx, partial, flat(gradients.dv), true);
  reduce_scatter_tokens(ctx, partial, dnormed);
  norm_.backward_input(ctx, {.dx_TD = dx, .dy_TD = dnormed, .x_TD = stash.input, .add_TD = dy},
                       norm_.statistics(stash));
}

void AttentionLayer::backward_weight(LayerContext& ctx, const Stash& stash) const {
  const Workspace::Mark mark(ctx.scratch);
  if (trains_inputs()) {
    const ConstTensor normed = gather_tokens(ctx, stash[normed_]);
    const auto backward = [&](const Linear& projection, StashId id) {
      if (!projection.trained()) return;
      const ConstTensor dy = flat(stash[id]);
      projection.backward_weight(ctx, dy, normed, dy);
    };
    backward(q_proj_, dq_projected_);
    backward(k_proj_, dk_projected_);
    backward(v_proj_, dv_);
  }
  if (o_proj_.trained()) {
    o_proj_.backward_weight(ctx, gather_tokens(ctx, stash.output_gradient), flat(stash[out_]),
                            stash.output_gradient);
  }
  if (!norm_.trained()) return;
  if (dims_.qk_norm) {
    q_norm_.backward_weight(ctx, rows(stash[dq_]), rows(stash[q_projected_]),
                            q_norm_.statistics(stash));
    k_norm_.backward_weight(ctx, rows(stash[dk_]), rows(stash[k_projected_]),
                            k_norm_.statistics(stash));
  }
  norm_.backward_weight(ctx, stash[dnormed_], stash.input, norm_.statistics(stash));
}

// Of pair i, in radians per position. llama3: Meta's rule, by how often a frequency turns within
// the length of the first training.
double rope_frequency(const ModelDimensions& dims, std::int64_t pair) {
  const double exponent = 2.0 * static_cast<double>(pair) / static_cast<double>(dims.head_dim);
  const double plain = std::pow(dims.rope_theta, -exponent);
  const RopeScaling& scaling = dims.rope_scaling;
  if (scaling.kind == RopeScaling::Kind::kNone) return plain;
  if (scaling.kind == RopeScaling::Kind::kLinear) return plain / scaling.factor;
  const double turns = scaling.original_length * plain / (2.0 * std::numbers::pi);
  const double share = std::clamp(
      (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor), 0.0,
      1.0);
  return share * plain + (1.0 - share) * plain / scaling.factor;
}

Tensor make_rope_table(const ModelDimensions& dims, Arena& arena, Arena& host, Stream& stream) {
  const std::int64_t pairs = dims.head_dim / 2;
  const Tensor table = arena.allocate("rope table", {dims.sequence_length, 2, pairs}, DType::kF32);
  const Tensor mirror = host.mirror("rope table", table);
  if (mirror.data == nullptr) return table;
  float* out = mirror.as<float>();
  for (std::int64_t position = 0; position < dims.sequence_length; ++position) {
    for (std::int64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(position) * rope_frequency(dims, i);
      out[(position * 2) * pairs + i] = static_cast<float>(std::cos(angle));
      out[(position * 2 + 1) * pairs + i] = static_cast<float>(std::sin(angle));
    }
  }
  ops::copy(stream, table, mirror);
  return table;
}

}  // namespace frugal
