// Every backward of the reference against central differences of its forward.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

// <dy, f(x + h u)> - <dy, f(x - h u)> over 2h, against <gradient, u>, for a few random directions
// u.
void check_gradient(Owned& x, const Owned& gradient, const Owned& dy,
                    const std::function<void(Tensor)>& forward) {
  const Owned original = copy_of(x);
  Owned y(dy.get().shape, DType::kF32);
  const auto value = [&](float step, const Owned& direction) {
    for (std::int64_t i = 0; i < x.get().numel(); ++i)
      x.set(i, original.at(i) + step * direction.at(i));
    forward(y);
    double sum = 0.0;
    for (std::int64_t i = 0; i < y.get().numel(); ++i)
      sum += static_cast<double>(y.at(i)) * static_cast<double>(dy.at(i));
    return sum;
  };
  for (std::uint64_t trial = 0; trial < 4; ++trial) {
    const Owned direction = random_tensor(x.get().shape, DType::kF32, 100 + trial);
    constexpr float kStep = 1e-2F;
    const double numeric =
        (value(kStep, direction) - value(-kStep, direction)) / (2.0 * static_cast<double>(kStep));
    double analytic = 0.0;
    for (std::int64_t i = 0; i < x.get().numel(); ++i) {
      analytic += static_cast<double>(gradient.at(i)) * static_cast<double>(direction.at(i));
    }
    // Truncation is of order step^2, rounding of order epsilon / step.
    EXPECT_NEAR(numeric, analytic, 2e-3 * (1.0 + std::abs(analytic)));
  }
  x.copy_from(original);
}

class Gradients : public testing::Test {
 protected:
  std::unique_ptr<Stream> stream_ = make_stream({}, "test");
};

TEST_F(Gradients, RmsNorm) {
  Owned x = random_tensor({3, 11}, DType::kF32, 1),
        w = random_tensor({11}, DType::kF32, 2, 0.3F, 1.0F);
  const Owned dy = random_tensor({3, 11}, DType::kF32, 3), rstd({3}, DType::kF32),
              y({3, 11}, DType::kF32);
  const Owned dx({3, 11}, DType::kF32), dw = zeros({11}, DType::kF32);
  const auto forward = [&](Tensor out) { ref::rms_norm_forward(*stream_, out, rstd, x, w, 1e-5F); };
  forward(y);
  ref::rms_norm_backward_input(*stream_,
                               {.dx_TD = dx, .dy_TD = dy, .x_TD = x, .w_D = w, .rstd_T = rstd});
  ref::rms_norm_backward_weight(*stream_, dw, dy, x, rstd);
  check_gradient(x, dx, dy, forward);
  check_gradient(w, dw, dy, forward);
}

TEST_F(Gradients, LayerNorm) {
  Owned x = random_tensor({3, 11}, DType::kF32, 1),
        w = random_tensor({11}, DType::kF32, 2, 0.3F, 1.0F);
  Owned b = random_tensor({11}, DType::kF32, 4);
  const Owned dy = random_tensor({3, 11}, DType::kF32, 3), mean({3}, DType::kF32),
              rstd({3}, DType::kF32), y({3, 11}, DType::kF32);
  const Owned dx({3, 11}, DType::kF32), dw = zeros({11}, DType::kF32),
                                        db = zeros({11}, DType::kF32);
  const auto forward = [&](Tensor out) {
    ref::layer_norm_forward(
        *stream_, {.out_TD = out, .mean_T = mean, .rstd_T = rstd, .x_TD = x, .w_D = w, .b_D = b});
  };
  forward(y);
  ref::layer_norm_backward_input(
      *stream_, {.dx_TD = dx, .dy_TD = dy, .x_TD = x, .w_D = w, .mean_T = mean, .rstd_T = rstd});
  ref::layer_norm_backward_weight(
      *stream_, {.dw_D = dw, .db_D = db, .dy_TD = dy, .x_TD = x, .mean_T = mean, .rstd_T = rstd});
  check_gradient(x, dx, dy, forward);
  check_gradient(w, dw, dy, forward);
  check_gradient(b, db, dy, forward);
}

TEST_F(Gradients, Activations) {
  Owned gate = random_tensor({2, 9}, DType::kF32, 1), up = random_tensor({2, 9}, DType::kF32, 2);
  const Owned dy = random_tensor({2, 9}, DType::kF32, 3), dgate({2, 9}, DType::kF32),
              dup({2, 9}, DType::kF32), dx({2, 9}, DType::kF32);
  ref::swiglu_backward_input(
      *stream_, {.dgate_TI = dgate, .dup_TI = dup, .dout_TI = dy, .gate_TI = gate, .up_TI = up});
  const auto swiglu = [&](Tensor out) { ref::swiglu_forward(*stream_, out, gate, up); };
  check_gradient(gate, dgate, dy, swiglu);
  check_gradient(up, dup, dy, swiglu);
  ref::gelu_backward_input(*stream_, dx, dy, gate);
  check_gradient(gate, dx, dy, [&](Tensor out) { ref::gelu_forward(*stream_, out, gate); });
}

// The gradient of gelu(x): what a product of dy with its weight, ended so, makes of x.
TEST_F(Gradients, ProductEndsInGelu) {
  Owned x = random_tensor({5, 7}, DType::kF32, 1);
  const Owned weight = random_tensor({3, 7}, DType::kF32, 2),
              dy = random_tensor({5, 3}, DType::kF32, 3);
  const Owned identity = zeros({7, 7}, DType::kF32), activated({5, 7}, DType::kF32),
              input({5, 7}, DType::kF32), dx({5, 7}, DType::kF32);
  for (std::int64_t i = 0; i < 7; ++i) identity.get().as<float>()[8 * i] = 1.0F;
  ref::matmul(*stream_, {.out_MN = dx, .a = dy, .b = weight, .dgelu_input_MN = x});
  check_gradient(x, dx, dy, [&](Tensor out) {
    ref::matmul(*stream_, {.out_MN = activated, .a = x, .b = identity, .gelu_input_MN = input});
    ref::matmul(*stream_, {.out_MN = out, .a = activated, .b = weight, .transpose_b = true});
  });
}

TEST_F(Gradients, Rope) {
  Owned x = random_tensor({6, 2, 8}, DType::kF32, 1);
  const Owned angles = random_tensor({3, 2, 4}, DType::kF32, 2),
              dy = random_tensor({6, 2, 8}, DType::kF32, 3);
  const Owned dx = copy_of(dy), positions = random_ids(6, 0, 3, 4);
  ref::rope_backward_input(*stream_, dx, angles, positions);
  check_gradient(x, dx, dy, [&](Tensor out) {
    std::memcpy(out.data, x.get().data, out.bytes());
    ref::rope_forward(*stream_, out, angles, positions);
  });
}

TEST_F(Gradients, Embedding) {
  Owned table = random_tensor({5, 7}, DType::kF32, 1);
  const Owned ids = random_ids(9, 0, 8, 2), dy = random_tensor({9, 7}, DType::kF32, 3);
  const Owned dtable = zeros({5, 7}, DType::kF32);
  ref::embedding_backward_weight(*stream_, dtable, dy, ids, 2);
  check_gradient(table, dtable, dy, [&](Tensor out) {
    ref::embedding_forward(*stream_,
                           {.out_TD = out, .table_VD = table, .ids_T = ids, .row_begin = 2});
  });
}

TEST_F(Gradients, Bias) {
  Owned bias = random_tensor({7}, DType::kF32, 1);
  const Owned dy = random_tensor({9, 7}, DType::kF32, 2), db = zeros({7}, DType::kF32);
  const Owned a({9, 0}, DType::kF32), b({0, 7}, DType::kF32);  // nothing but the bias
  ref::bias_backward_weight(*stream_, db, dy);
  check_gradient(bias, db, dy, [&](Tensor out) {
    ref::matmul(*stream_, {.out_MN = out, .a = a, .b = b, .bias_N = bias});
  });
}

TEST_F(Gradients, Attention) {
  const Shape query{8, 4, 6}, key{8, 2, 6}, value{8, 2, 3}, result{8, 4, 3};
  Owned q = random_tensor(query, DType::kF32, 1), k = random_tensor(key, DType::kF32, 2),
        v = random_tensor(value, DType::kF32, 3);
  const Owned dy = random_tensor(result, DType::kF32, 4), y(result, DType::kF32),
              lse({8, 4}, DType::kF32);
  const Owned dq(query, DType::kF32), dk(key, DType::kF32), dv(value, DType::kF32);
  const auto forward = [&](Tensor out) {
    ref::attention_forward(*stream_, {.out_TNH = out,
                                      .lse_TN = lse,
                                      .q_TNH = q,
                                      .k_TMH = k,
                                      .v_TMH = v,
                                      .sequence_length = 4,
                                      .scale = 0.4F});
  };
  forward(y);
  ref::attention_backward_input(*stream_, {.dq_TNH = dq,
                                           .dk_TMH = dk,
                                           .dv_TMH = dv,
                                           .dout_TNH = dy,
                                           .q_TNH = q,
                                           .k_TMH = k,
                                           .v_TMH = v,
                                           .out_TNH = y,
                                           .lse_TN = lse,
                                           .sequence_length = 4,
                                           .scale = 0.4F});
  check_gradient(q, dq, dy, forward);
  check_gradient(k, dk, dy, forward);
  check_gradient(v, dv, dy, forward);
}

TEST_F(Gradients, CrossEntropy) {
  Owned logits = random_tensor({5, 13}, DType::kF32, 1);
  const Owned targets = random_ids(5, -1, 13, 2),
              dy = random_tensor({5}, DType::kF32, 3, 0.0F, 1.0F);
  const Owned max({5}, DType::kF32), sum({5}, DType::kF32), target({5}, DType::kF32);
  const auto forward = [&](Tensor loss) {
    ref::cross_entropy_statistics(*stream_, {.max_C = max,
                                             .sum_exp_C = sum,
                                             .target_logit_C = target,
                                             .logits_CV = logits,
                                             .targets_C = targets,
                                             .valid_columns = 13});
    ref::cross_entropy_loss(*stream_, {.loss_C = loss,
                                       .max_C = max,
                                       .sum_exp_C = sum,
                                       .target_logit_C = target,
                                       .targets_C = targets});
  };
  const Owned loss({5}, DType::kF32);
  forward(loss);
  const Owned dlogits = copy_of(logits);
  ref::cross_entropy_backward_input(*stream_, {.logits_CV = dlogits,
                                               .max_C = max,
                                               .sum_exp_C = sum,
                                               .targets_C = targets,
                                               .valid_columns = 13});
  check_gradient(logits, dlogits, dy, forward);
}

}  // namespace
}  // namespace frugal::test
