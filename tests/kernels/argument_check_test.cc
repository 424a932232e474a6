// Public ops refuse arguments that do not fit, before any backend sees them.
#include <gtest/gtest.h>

#include "kernels/ops/op_table.h"
#include "tests/support/tensors.h"

namespace frugal::test {
namespace {

Tensor null_tensor(Shape shape, DType dtype = DType::kF32) {
  return {nullptr, shape, dtype, {}};
}

// The message must say which op and which argument.
template <class Call>
void expect_refused(const char* op, const char* what, const Call& call) {
  try {
    call();
    ADD_FAILURE() << op << " accepted a wrong " << what;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
    EXPECT_NE(std::string(error.what()).find(op), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
  }
}

class ArgumentChecks : public testing::Test {
 protected:
  std::unique_ptr<Stream> plan_ = make_planning_stream({});
  Tensor x_ = null_tensor({6, 8}), w_ = null_tensor({8}), t_ = null_tensor({6});
  Tensor wide_ = null_tensor({6, 9}), half_ = null_tensor({6, 8}, DType::kBF16);
};

TEST_F(ArgumentChecks, PlanningAcceptsNullTensorsThatFit) {
  ops::rms_norm_forward(*plan_, x_, t_, x_, w_, 1e-5F);
  ops::layer_norm_forward(
      *plan_, {.out_TD = x_, .mean_T = t_, .rstd_T = t_, .x_TD = x_, .w_D = w_, .b_D = w_});
  ops::embedding_forward(
      *plan_,
      {.out_TD = x_, .table_VD = null_tensor({3, 8}), .ids_T = null_tensor({6}, DType::kI32)});
  const AdamwPiece piece{.weight_N = half_, .master_N = x_, .m_N = x_, .v_N = x_, .grad_N = x_};
  ops::adamw_step(*plan_, {&piece, 1}, {});
}

TEST_F(ArgumentChecks, NullTensorsAreRefusedWhereOpsRun) {
  const auto stream = make_stream({}, "test");
  expect_refused("add", "no memory", [&] { ops::add(*stream, x_, x_, x_); });
  const Tensor empty = null_tensor({0, 8});
  ops::add(*stream, empty, empty, empty);  // has nothing to point to
}

TEST_F(ArgumentChecks, CopiesGoBetweenTheStreamsDeviceAndTheHost) {
  const Device gpu{DeviceType::kCuda, 1}, other{DeviceType::kCuda, 0};
  const auto there = make_planning_stream(gpu);
  const auto on = [&](Device device) { return Tensor{nullptr, {6, 8}, DType::kF16, device}; };
  ops::copy(*there, on(gpu), on({}));
  ops::copy(*there, on({}), on(gpu));
  expect_refused("copy", "x is neither on", [&] { ops::copy(*there, on(gpu), on(other)); });
  expect_refused("copy", "out is neither on", [&] { ops::copy(*plan_, on(gpu), on({})); });
}

TEST_F(ArgumentChecks, Norms) {
  expect_refused("rms_norm_forward", "out_TD",
                 [&] { ops::rms_norm_forward(*plan_, wide_, t_, x_, w_, 0.0F); });
  expect_refused("rms_norm_forward", "rstd_T",
                 [&] { ops::rms_norm_forward(*plan_, x_, w_, x_, w_, 0.0F); });
  expect_refused("rms_norm_forward", "x_TD",
                 [&] { ops::rms_norm_forward(*plan_, w_, t_, w_, w_, 0.0F); });
  expect_refused("rms_norm_backward_input", "add_TD", [&] {
    ops::rms_norm_backward_input(
        *plan_, {.dx_TD = x_, .dy_TD = x_, .x_TD = x_, .w_D = w_, .rstd_T = t_, .add_TD = wide_});
  });
  expect_refused("rms_norm_backward_weight", "dy_TD",
                 [&] { ops::rms_norm_backward_weight(*plan_, w_, half_, x_, t_); });
  expect_refused("layer_norm_forward", "b_D", [&] {
    ops::layer_norm_forward(
        *plan_, {.out_TD = x_, .mean_T = t_, .rstd_T = t_, .x_TD = x_, .w_D = w_, .b_D = t_});
  });
  expect_refused("layer_norm_backward_input", "mean_T", [&] {
    ops::layer_norm_backward_input(*plan_,
                                   {.dx_TD = x_, .dy_TD = x_, .x_TD = x_, .w_D = w_, .rstd_T = t_});
  });
  expect_refused("layer_norm_backward_weight", "db_D", [&] {
    ops::layer_norm_backward_weight(
        *plan_, {.dw_D = w_, .db_D = t_, .dy_TD = x_, .x_TD = x_, .mean_T = t_, .rstd_T = t_});
  });
}

TEST_F(ArgumentChecks, ProductsEndInOneWay) {
  const MatmulArgs fits{.out_MN = half_,
                        .a = null_tensor({6, 4}, DType::kBF16),
                        .b = null_tensor({4, 8}, DType::kBF16)};
  const auto refuse = [&](const char* what, const auto& change) {
    MatmulArgs args = fits;
    change(args);
    expect_refused("matmul", what, [&] { ops::matmul(*plan_, args); });
  };
  ops::matmul(*plan_, fits);
  refuse("add_MN", [&](MatmulArgs& args) { args.add_MN = x_; });
  MatmulArgs wide = fits;
  wide.out_MN = wide_;
  const MatmulArgs group[] = {fits, wide};
  expect_refused("matmul", "b is bf16", [&] { ops::matmul_group(*plan_, group); });
  refuse("gelu_input_MN", [&](MatmulArgs& args) { args.gelu_input_MN = wide_; });
  refuse("dgelu_input_MN", [&](MatmulArgs& args) { args.dgelu_input_MN = t_; });
  refuse("exclude one another",
         [&](MatmulArgs& args) { args.add_MN = args.gelu_input_MN = half_; });
  refuse("exclude one another", [&](MatmulArgs& args) {
    args.accumulate = true;
    args.dgelu_input_MN = half_;
  });
  refuse("bias_N and dgelu_input_MN", [&](MatmulArgs& args) {
    args.bias_N = null_tensor({8}, DType::kBF16);
    args.dgelu_input_MN = half_;
  });
}

TEST_F(ArgumentChecks, RopeAndActivations) {
  const Tensor angles = null_tensor({3, 2, 4});
  const Tensor positions = null_tensor({6}, DType::kI32);
  ops::rope_forward(*plan_, null_tensor({6, 2, 8}), angles, positions);
  expect_refused("rope_forward", "positions_T", [&] {
    ops::rope_forward(*plan_, null_tensor({7, 2, 8}), angles, positions);
  });
  expect_refused("rope_backward_input", "odd", [&] {
    ops::rope_backward_input(*plan_, null_tensor({6, 2, 9}), angles, positions);
  });
  expect_refused("rope_forward", "cos_sin_S2P", [&] {
    ops::rope_forward(*plan_, null_tensor({6, 2, 10}), angles, positions);
  });
  expect_refused("swiglu_forward", "up_TI", [&] { ops::swiglu_forward(*plan_, x_, x_, half_); });
  expect_refused("swiglu_backward_input", "dup_TI", [&] {
    ops::swiglu_backward_input(
        *plan_, {.dgate_TI = x_, .dup_TI = wide_, .dout_TI = x_, .gate_TI = x_, .up_TI = x_});
  });
  expect_refused("gelu_forward", "x_TI", [&] { ops::gelu_forward(*plan_, x_, wide_); });
  expect_refused("gelu_backward_input", "dout_TI",
                 [&] { ops::gelu_backward_input(*plan_, x_, half_, x_); });
}

TEST_F(ArgumentChecks, Attention) {
  const auto heads = [](std::int64_t count, std::int64_t size) {
    return null_tensor({6, count, size}, DType::kBF16);
  };
  const AttentionForwardArgs forward{.out_TNH = heads(4, 2),
                                     .lse_TN = null_tensor({6, 4}),
                                     .q_TNH = heads(4, 8),
                                     .k_TMH = heads(2, 8),
                                     .v_TMH = heads(2, 2),
                                     .document_start_T = null_tensor({6}, DType::kI32),
                                     .sequence_length = 3};
  const AttentionBackwardArgs backward{.dq_TNH = heads(4, 8),
                                       .dk_TMH = heads(2, 8),
                                       .dv_TMH = heads(2, 2),
                                       .dout_TNH = heads(4, 2),
                                       .q_TNH = heads(4, 8),
                                       .k_TMH = heads(2, 8),
                                       .v_TMH = heads(2, 2),
                                       .out_TNH = heads(4, 2),
                                       .lse_TN = null_tensor({6, 4}),
                                       .sequence_length = 3};
  ops::attention_forward(*plan_, forward);
  ops::attention_backward_input(*plan_, backward);
  const auto refuse = [&](const char* what, const auto& change) {
    AttentionForwardArgs args = forward;
    change(args);
    expect_refused("attention_forward", what, [&] { ops::attention_forward(*plan_, args); });
  };
  refuse("out_TNH", [&](auto& args) { args.out_TNH = heads(4, 8); });
  refuse("lse_TN", [&](auto& args) { args.lse_TN = null_tensor({6, 4}, DType::kBF16); });
  refuse("q_TNH", [&](auto& args) { args.q_TNH = null_tensor({6, 32}, DType::kBF16); });
  refuse("k_TMH", [&](auto& args) { args.k_TMH = heads(2, 2); });
  refuse("v_TMH", [&](auto& args) { args.v_TMH = heads(1, 2); });
  refuse("4 query heads", [&](auto& args) { args.k_TMH = args.v_TMH = heads(3, 8); });
  refuse("document_start_T", [&](auto& args) { args.document_start_T = null_tensor({6}); });
  refuse("whole sequences", [&](auto& args) { args.sequence_length = 4; });
  refuse("whole sequences", [&](auto& args) { args.sequence_length = 0; });
  const auto refuse_back = [&](const char* what, const auto& change) {
    AttentionBackwardArgs args = backward;
    change(args);
    expect_refused("attention_backward_input", what,
                   [&] { ops::attention_backward_input(*plan_, args); });
  };
  refuse_back("dq_TNH", [&](auto& args) { args.dq_TNH = heads(4, 2); });
  refuse_back("dk_TMH", [&](auto& args) { args.dk_TMH = heads(4, 8); });
  refuse_back("dv_TMH", [&](auto& args) { args.dv_TMH = heads(2, 8); });
  refuse_back("dout_TNH", [&](auto& args) { args.dout_TNH = heads(4, 8); });
  refuse_back("lse_TN", [&](auto& args) { args.lse_TN = t_; });
}

TEST_F(ArgumentChecks, CrossEntropy) {
  const Tensor targets = null_tensor({6}, DType::kI32);
  const CrossEntropyStatisticsArgs statistics{.max_C = t_,
                                              .sum_exp_C = t_,
                                              .target_logit_C = t_,
                                              .logits_CV = half_,
                                              .targets_C = targets,
                                              .valid_columns = 8};
  ops::cross_entropy_statistics(*plan_, statistics);
  const auto refuse = [&](const char* what, const auto& change) {
    CrossEntropyStatisticsArgs args = statistics;
    change(args);
    expect_refused("cross_entropy_statistics", what,
                   [&] { ops::cross_entropy_statistics(*plan_, args); });
  };
  refuse("max_C", [&](auto& args) { args.max_C = w_; });
  refuse("sum_exp_C", [&](auto& args) { args.sum_exp_C = targets; });
  refuse("target_logit_C", [&](auto& args) { args.target_logit_C = w_; });
  refuse("logits_CV", [&](auto& args) { args.logits_CV = t_; });
  refuse("targets_C", [&](auto& args) { args.targets_C = t_; });
  refuse("valid_columns", [&](auto& args) { args.valid_columns = 9; });
  ops::cross_entropy_rescale(*plan_, t_, t_, t_);
  expect_refused("cross_entropy_rescale", "local_max_C",
                 [&] { ops::cross_entropy_rescale(*plan_, t_, w_, t_); });
  expect_refused("cross_entropy_rescale", "global_max_C",
                 [&] { ops::cross_entropy_rescale(*plan_, t_, t_, targets); });
  expect_refused("cross_entropy_loss", "target_logit_C", [&] {
    ops::cross_entropy_loss(
        *plan_,
        {.loss_C = t_, .max_C = t_, .sum_exp_C = t_, .target_logit_C = w_, .targets_C = targets});
  });
  expect_refused("cross_entropy_backward_input", "sum_exp_C", [&] {
    ops::cross_entropy_backward_input(*plan_, {.logits_CV = half_,
                                               .max_C = t_,
                                               .sum_exp_C = w_,
                                               .targets_C = targets,
                                               .valid_columns = 8});
  });
}

TEST_F(ArgumentChecks, Embedding) {
  expect_refused("embedding_forward", "ids_T", [&] {
    ops::embedding_forward(*plan_, {.out_TD = x_, .table_VD = x_, .ids_T = t_});
  });
  expect_refused("embedding_backward_weight", "dtable_VD", [&] {
    ops::embedding_backward_weight(*plan_, wide_, x_, null_tensor({6}, DType::kI32), 0);
  });
}

TEST_F(ArgumentChecks, Elementwise) {
  const Tensor ids = null_tensor({6, 8}, DType::kI32);
  expect_refused("add", "dtype", [&] { ops::add(*plan_, x_, half_, x_); });
  expect_refused("scale", "dtype", [&] { ops::scale(*plan_, x_, half_, 2.0F); });
  expect_refused("cast", "48 elements", [&] { ops::cast(*plan_, x_, wide_); });
  expect_refused("cast", "dtype", [&] { ops::cast(*plan_, x_, ids); });
  expect_refused("copy", "shape", [&] { ops::copy(*plan_, x_, wide_); });
  expect_refused("copy", "dtype", [&] { ops::copy(*plan_, x_, half_); });
  expect_refused("cast", "one of them must be f32", [&] {
    ops::cast(*plan_, half_, null_tensor({6, 8}, DType::kF16));
  });
  expect_refused("fill", "dtype",
                 [&] { ops::fill(*plan_, null_tensor({3}, DType::kF8E4M3), 0.0F); });
  expect_refused("normal_fill", "are not in a parameter of", [&] {
    ops::normal_fill(*plan_, {.out_RC = x_, .column_begin = 1, .global_columns = 8});
  });
  expect_refused("tree_sum", "parts_RN", [&] { ops::tree_sum(*plan_, w_, null_tensor({0, 8})); });
  expect_refused("max_rows", "parts_RN", [&] { ops::max_rows(*plan_, w_, wide_); });
  expect_refused("sum_accumulate", "out_1", [&] { ops::sum_accumulate(*plan_, w_, x_); });
  expect_refused("bias_backward_weight", "db_N",
                 [&] { ops::bias_backward_weight(*plan_, t_, x_); });
}

TEST_F(ArgumentChecks, Optimizer) {
  const AdamwPiece fits{.weight_N = half_, .m_N = half_, .v_N = half_, .grad_N = x_};
  const auto refuse = [&](const char* argument, const auto& change) {
    std::vector<AdamwPiece> pieces{fits, fits};
    change(pieces[1]);
    expect_refused("adamw_step", argument, [&] { ops::adamw_step(*plan_, pieces, {}); });
    pieces.erase(pieces.begin());
    if (argument != std::string("master_N")) return;
    ops::adamw_step(*plan_, pieces, {});  // pieces need only be alike
  };
  refuse("master_N", [&](AdamwPiece& piece) { piece.master_N = x_; });
  refuse("weight_N", [&](AdamwPiece& piece) { piece.weight_N = x_; });
  refuse("m_N", [&](AdamwPiece& piece) { piece.m_N = x_; });
  refuse("v_N", [&](AdamwPiece& piece) { piece.v_N = x_; });
  refuse("grad_N", [&](AdamwPiece& piece) { piece.grad_N = w_; });
  refuse("element 4", [&](AdamwPiece& piece) { piece.begin = 4; });
  AdamwPiece lone = fits;
  lone.weight_N = null_tensor({6, 8}, DType::kF16);
  expect_refused("adamw_step", "needs master_N", [&] { ops::adamw_step(*plan_, {&lone, 1}, {}); });
  expect_refused("block_sum_squares", "out_B", [&] { ops::block_sum_squares(*plan_, w_, x_, 4); });
}

}  // namespace
}  // namespace frugal::test
