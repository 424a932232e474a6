#include "tests/support/op_cases.h"

#include "tests/support/case_lists.h"

namespace frugal::test {
namespace {

void add_rms_norm(std::vector<OpCase>& cases, std::int64_t tokens, std::int64_t width,
                  DType dtype) {
  const std::string size = concat(" ", tokens, "x", width, " ", name_of(dtype));
  cases.push_back({"rms_norm_forward" + size,
                   [=](const OpTable& table, Stream& stream) {
                     const Owned x = random_tensor({tokens, width}, dtype, 1);
                     const Owned w = random_tensor({width}, dtype, 2, 0.2F, 1.0F);
                     Owned out({tokens, width}, dtype);
                     Owned rstd({tokens}, DType::kF32);
                     table.rms_norm_forward(stream, out, rstd, x, w, 1e-5F);
                     return outputs(std::move(out), std::move(rstd));
                   },
                   tolerance(dtype, width, 4.0)});
  cases.push_back(
      {"rms_norm_backward" + size,
       [=](const OpTable& table, Stream& stream) {
         const Owned x = random_tensor({tokens, width}, dtype, 1);
         const Owned w = random_tensor({width}, dtype, 2, 0.2F, 1.0F);
         const Owned dy = random_tensor({tokens, width}, dtype, 3);
         const Owned residual = random_tensor({tokens, width}, dtype, 4);
         const Owned rstd = random_tensor({tokens}, DType::kF32, 5, 0.1F, 1.0F);
         Owned dx({tokens, width}, dtype), dx_plain({tokens, width}, dtype);
         Owned dw = random_tensor({width}, DType::kF32, 6);
         table.rms_norm_backward_input(
             stream,
             {.dx_TD = dx, .dy_TD = dy, .x_TD = x, .w_D = w, .rstd_T = rstd, .add_TD = residual});
         table.rms_norm_backward_input(
             stream, {.dx_TD = dx_plain, .dy_TD = dy, .x_TD = x, .w_D = w, .rstd_T = rstd});
         table.rms_norm_backward_weight(stream, dw, dy, x, rstd);
         return outputs(std::move(dx), std::move(dx_plain), std::move(dw));
       },
       tolerance(dtype, width + tokens, 8.0)});
}

void add_layer_norm(std::vector<OpCase>& cases, std::int64_t tokens, std::int64_t width,
                    DType dtype) {
  const std::string size = concat(" ", tokens, "x", width, " ", name_of(dtype));
  cases.push_back(
      {"layer_norm_forward" + size,
       [=](const OpTable& table, Stream& stream) {
         const Owned x = random_tensor({tokens, width}, dtype, 1, 1.0F, 0.5F);
         const Owned w = random_tensor({width}, dtype, 2, 0.2F, 1.0F);
         const Owned b = random_tensor({width}, dtype, 3);
         Owned out({tokens, width}, dtype), plain({tokens, width}, dtype);
         Owned mean({tokens}, DType::kF32), rstd({tokens}, DType::kF32);
         table.layer_norm_forward(
             stream,
             {.out_TD = plain, .mean_T = mean, .rstd_T = rstd, .x_TD = x, .w_D = w, .eps = 1e-2F});
         table.layer_norm_forward(stream, {.out_TD = out,
                                           .mean_T = mean,
                                           .rstd_T = rstd,
                                           .x_TD = x,
                                           .w_D = w,
                                           .b_D = b,
                                           .eps = 1e-2F});
         return outputs(std::move(out), std::move(plain), std::move(mean), std::move(rstd));
       },
       tolerance(dtype, width, 16.0)});
  cases.push_back(
      {"layer_norm_backward" + size,
       [=](const OpTable& table, Stream& stream) {
         const Owned x = random_tensor({tokens, width}, dtype, 1);
         const Owned w = random_tensor({width}, dtype, 2, 0.2F, 1.0F);
         const Owned dy = random_tensor({tokens, width}, dtype, 3);
         const Owned residual = random_tensor({tokens, width}, dtype, 4);
         const Owned mean = random_tensor({tokens}, DType::kF32, 5, 0.1F);
         const Owned rstd = random_tensor({tokens}, DType::kF32, 6, 0.1F, 1.0F);
         Owned dx({tokens, width}, dtype);
         Owned dw = random_tensor({width}, DType::kF32, 7),
               db = random_tensor({width}, DType::kF32, 8), dw_alone = copy_of(dw);
         table.layer_norm_backward_input(stream, {.dx_TD = dx,
                                                  .dy_TD = dy,
                                                  .x_TD = x,
                                                  .w_D = w,
                                                  .mean_T = mean,
                                                  .rstd_T = rstd,
                                                  .add_TD = residual});
         table.layer_norm_backward_weight(
             stream,
             {.dw_D = dw, .db_D = db, .dy_TD = dy, .x_TD = x, .mean_T = mean, .rstd_T = rstd});
         table.layer_norm_backward_weight(
             stream, {.dw_D = dw_alone, .dy_TD = dy, .x_TD = x, .mean_T = mean, .rstd_T = rstd});
         return outputs(std::move(dx), std::move(dw), std::move(db), std::move(dw_alone));
       },
       tolerance(dtype, width + tokens, 8.0)});
}

void add_rope(std::vector<OpCase>& cases, DType dtype, std::int64_t pairs) {
  cases.push_back({concat("rope ", pairs, " ", name_of(dtype)),
                   [=](const OpTable& table, Stream& stream) {
                     Owned x = random_tensor({10, 3, 2 * pairs}, dtype, 1), dx = copy_of(x);
                     const Owned table_S2P = random_tensor({5, 2, pairs}, DType::kF32, 2);
                     const Owned positions = random_ids(10, 0, 5, 3);
                     table.rope_forward(stream, x, table_S2P, positions);
                     table.rope_backward_input(stream, dx, table_S2P, positions);
                     return outputs(std::move(x), std::move(dx));
                   },
                   tolerance(dtype, 2, 8.0)});
}

void add_activations(std::vector<OpCase>& cases, DType dtype) {
  cases.push_back(
      {concat("activations ", name_of(dtype)),
       [=](const OpTable& table, Stream& stream) {
         const Shape shape{7, 1301};
         const Owned gate = random_tensor(shape, dtype, 1, 3.0F),
                     up = random_tensor(shape, dtype, 2);
         const Owned dout = random_tensor(shape, dtype, 3);
         Owned out(shape, dtype), dgate(shape, dtype), dup(shape, dtype), gelu(shape, dtype),
             dgelu(shape, dtype);
         table.swiglu_forward(stream, out, gate, up);
         table.swiglu_backward_input(
             stream,
             {.dgate_TI = dgate, .dup_TI = dup, .dout_TI = dout, .gate_TI = gate, .up_TI = up});
         table.gelu_forward(stream, gelu, gate);
         table.gelu_backward_input(stream, dgelu, dout, gate);
         return outputs(std::move(out), std::move(dgate), std::move(dup), std::move(gelu),
                        std::move(dgelu));
       },
       tolerance(dtype, 16, 16.0)});
}

void add_cross_entropy(std::vector<OpCase>& cases, std::int64_t columns, std::int64_t valid,
                       DType dtype) {
  cases.push_back({concat("cross_entropy ", columns, " of which ", valid, " ", name_of(dtype)),
                   [=](const OpTable& table, Stream& stream) {
                     const std::int64_t tokens = 9;
                     Owned logits = random_tensor({tokens, columns}, dtype, 1, 4.0F);
                     const Owned targets =
                         random_ids(tokens, -1, static_cast<std::int32_t>(valid) + 30, 2);
                     Owned max({tokens}, DType::kF32), sum({tokens}, DType::kF32),
                         target({tokens}, DType::kF32), loss({tokens}, DType::kF32),
                         global({tokens}, DType::kF32);
                     table.cross_entropy_statistics(stream, {.max_C = max,
                                                             .sum_exp_C = sum,
                                                             .target_logit_C = target,
                                                             .logits_CV = logits,
                                                             .targets_C = targets,
                                                             .column_begin = 15,
                                                             .valid_columns = valid});
                     for (std::int64_t c = 0; c < tokens; ++c)
                       global.set(c, valid > 0 ? max.at(c) + 0.5F : 0.5F);
                     Owned rescaled = copy_of(sum);
                     table.cross_entropy_rescale(stream, rescaled, max, global);
                     table.cross_entropy_loss(stream, {.loss_C = loss,
                                                       .max_C = global,
                                                       .sum_exp_C = rescaled,
                                                       .target_logit_C = target,
                                                       .targets_C = targets});
                     table.cross_entropy_backward_input(stream, {.logits_CV = logits,
                                                                 .max_C = global,
                                                                 .sum_exp_C = rescaled,
                                                                 .targets_C = targets,
                                                                 .column_begin = 15,
                                                                 .valid_columns = valid,
                                                                 .scale = 0.25F});
                     return outputs(std::move(max), std::move(sum), std::move(target),
                                    std::move(rescaled), std::move(loss), std::move(logits));
                   },
                   tolerance(dtype, columns, 16.0)});
}

void add_elementwise(std::vector<OpCase>& cases, DType dtype, std::int64_t count) {
  cases.push_back(
      {concat("elementwise ", count, " ", name_of(dtype)),
       [=](const OpTable& table, Stream& stream) {
         const Owned a = random_tensor({count}, dtype, 1), b = random_tensor({count}, dtype, 2);
         const Owned parts = random_tensor({7, count}, dtype, 3);
         const Owned wide = random_tensor({count}, DType::kF32, 4);
         Owned sum({count}, dtype), scaled({count}, dtype), f32({count}, DType::kF32),
             back({count}, dtype), copied({count}, dtype), filled({count}, dtype),
             tree({count}, dtype), largest({count}, dtype);
         table.add(stream, sum, a, b);
         table.scale(stream, scaled, a, 1.7F);
         table.cast(stream, f32, a);
         table.cast(stream, back, wide);
         table.copy(stream, copied, a);
         table.fill(stream, filled, 0.3F);
         table.tree_sum(stream, tree, parts);
         table.max_rows(stream, largest, parts);
         return outputs(std::move(sum), std::move(scaled), std::move(f32), std::move(back),
                        std::move(copied), std::move(filled), std::move(tree), std::move(largest));
       },
       {}});  // exact
}

void add_sums(std::vector<OpCase>& cases, DType dtype) {
  cases.push_back({concat("sums ", name_of(dtype)),
                   [=](const OpTable& table, Stream& stream) {
                     const Owned x = random_tensor({1000}, DType::kF32, 1),
                                 dy = random_tensor({77, 130}, dtype, 2);
                     Owned total = random_tensor({1}, DType::kF32, 3),
                           db = random_tensor({130}, DType::kF32, 4);
                     Owned blocks({8}, DType::kF32), normal({6, 10}, dtype);
                     table.sum_accumulate(stream, total, x);
                     table.bias_backward_weight(stream, db, dy);
                     table.block_sum_squares(stream, blocks, x, 128);
                     table.normal_fill(stream, {.out_RC = normal,
                                                .key = 7,
                                                .row_begin = 3,
                                                .column_begin = 5,
                                                .global_columns = 40,
                                                .mean = 0.5F,
                                                .stddev = 2.0F});
                     return outputs(std::move(total), std::move(db), std::move(blocks),
                                    std::move(normal));
                   },
                   tolerance(dtype, 1000, 4.0)});
}

// How AdamW keeps a weight and its state.
struct AdamwFormat {
  DType weight, state;
  bool master;
};
std::string describe(const AdamwFormat& format) {
  return concat(name_of(format.weight), format.master ? " with master" : "", ", state ",
                name_of(format.state));
}

// Cuts into more pieces than one launch takes, each larger than the one before, as if others lay
// between them; few elements into two pieces of which the second is not aligned.
std::vector<AdamwPiece> adamw_pieces(std::int64_t count, const Owned& weight, const Owned* master,
                                     const Owned& m, const Owned& v, const Owned& grad) {
  std::vector<AdamwPiece> pieces;
  std::int64_t begin = 0;
  while (begin < count) {
    const auto index = static_cast<std::int64_t>(pieces.size());
    const std::int64_t size = count < 100 ? count / 2 + index : 8 * index;
    const std::int64_t end = index < 70 ? std::min(count, begin + size) : count;
    pieces.push_back({.weight_N = weight.get().slice(begin, end),
                      .master_N = master != nullptr ? master->get().slice(begin, end) : Tensor{},
                      .m_N = m.get().slice(begin, end),
                      .v_N = v.get().slice(begin, end),
                      .grad_N = ConstTensor(grad).slice(begin, end),
                      .weight_decay = index % 2 == 0 ? 0.25F : 0.5F,
                      .rounding_key = 0x123456789abcdefULL + static_cast<std::uint64_t>(index / 3),
                      .begin = index % 3 * ((std::int64_t{1} << 36) + 8)});
    begin = end;
  }
  return pieces;
}

void add_adamw(std::vector<OpCase>& cases, const AdamwFormat& format, std::int64_t count) {
  cases.push_back(
      {concat("adamw ", count, " ", describe(format)),
       [=](const OpTable& table, Stream& stream) {
         Owned master = random_tensor({count}, DType::kF32, 1),
               weight = random_tensor({count}, format.weight, 1);
         Owned m = random_tensor({count}, format.state, 2, 0.1F), v = zeros({count}, format.state);
         for (std::int64_t i = 0; i < count; ++i) v.set(i, m.at(i) * m.at(i));
         const Owned grad = random_tensor({count}, DType::kF32, 3);
         table.adamw_step(
             stream, adamw_pieces(count, weight, format.master ? &master : nullptr, m, v, grad),
             {.grad_scale = 0.5F,
              .learning_rate = 0.01F,
              .bias_correction1 = 0.19F,
              .bias_correction2 = 0.0975F});
         return outputs(std::move(weight), std::move(master), std::move(m), std::move(v));
       },
       tolerance(format.state == DType::kBF16 ? DType::kBF16 : format.weight, 16, 4.0)});
}

// Numbers of so few bits that float32 is exact, and rounding to bfloat16 is not: the reference's
// bits. Weights move by decay alone (no gradient yet), or moments alone (no learning rate).
void add_adamw_rounding(std::vector<OpCase>& cases, const AdamwFormat& format, bool weights) {
  cases.push_back(
      {concat("adamw rounding ", weights ? "weights, " : "moments, ", describe(format)),
       [=](const OpTable& table, Stream& stream) {
         constexpr std::int64_t kCount = 6003;
         Owned master({kCount}, DType::kF32), weight({kCount}, format.weight);
         Owned m({kCount}, format.state), v({kCount}, format.state), grad({kCount}, DType::kF32);
         for (std::int64_t i = 0; i < kCount; ++i) {
           const auto at = [&](std::int64_t by) { return static_cast<float>(i * by % 128 - 64); };
           master.set(i, at(5) / 64.0F);
           weight.set(i, master.at(i));
           m.set(i, weights ? 0.0F : at(3) / 64.0F);
           v.set(i, 1.0F + (at(7) + 64.0F) / 128.0F);
           grad.set(i, weights ? 0.0F : static_cast<float>(i % 15 - 7) / 4.0F);
         }
         table.adamw_step(
             stream, adamw_pieces(kCount, weight, format.master ? &master : nullptr, m, v, grad),
             {.learning_rate = weights ? 0.015625F : 0.0F, .beta1 = 0.75F, .beta2 = 0.625F});
         return outputs(std::move(weight), std::move(master), std::move(m), std::move(v));
       },
       Tolerance{}});
}

void add_adamw_formats(std::vector<OpCase>& cases) {
  for (const DType state : {DType::kF32, DType::kBF16}) {
    for (const AdamwFormat& format :
         {AdamwFormat{DType::kF32, state, false}, AdamwFormat{DType::kBF16, state, true},
          AdamwFormat{DType::kBF16, state, false}, AdamwFormat{DType::kF16, state, true}}) {
      for (const std::int64_t count : {0, 1, 13}) add_adamw(cases, format, count);
      add_adamw(cases, format, state == DType::kF32 ? 40001 : 20003);
      add_adamw_rounding(cases, format, true);
      add_adamw_rounding(cases, format, false);
    }
  }
}

}  // namespace

std::vector<OpCase> op_cases() {
  std::vector<OpCase> cases;
  add_matmul_cases(cases);
  for (const DType dtype : kDtypes) {
    for (const std::int64_t tokens : {0, 1, 5, 130}) {
      for (const std::int64_t width : {1, 7, 64, 100}) {
        add_rms_norm(cases, tokens, width, dtype);
        add_layer_norm(cases, tokens, width, dtype);
      }
    }
    add_rms_norm(cases, 3, 1543, dtype);
    add_layer_norm(cases, 3, 1543, dtype);
    add_rms_norm(cases, 901, 24, dtype);  // several parts of a sum over rows
    add_layer_norm(cases, 901, 72, dtype);
    add_attention_cases(cases, dtype);
    for (const std::int64_t pairs : {7, 32, 35}) add_rope(cases, dtype, pairs);
    add_activations(cases, dtype);
    add_embedding_cases(cases, dtype);
    for (const std::int64_t valid : {40, 37, 0}) add_cross_entropy(cases, 40, valid, dtype);
    add_cross_entropy(cases, 5003, 5000, dtype);
    for (const std::int64_t count : {0, 1, 13, 40001}) add_elementwise(cases, dtype, count);
    add_sums(cases, dtype);
  }
  add_adamw_formats(cases);
  add_cache_cases(cases);
  return cases;
}

const OpTable& reference_table() {
  static const OpTable table = {
#define OP(name) .name = &ref::name,
#include "kernels/ops/op_list.inc"
#undef OP
  };
  return table;
}

}  // namespace frugal::test
