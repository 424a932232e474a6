#include "tests/bench/memory_ops.h"

#include "kernels/ops/activation.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/loss.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/optimizer.h"
#include "kernels/ops/rope.h"
#include "tests/support/tensors.h"

namespace frugal::bench {
namespace {

constexpr std::int64_t kTokens = 16384, kWidth = 4096, kVocabulary = 50304;
constexpr std::int64_t kCount = kTokens * kWidth;

struct List {
  std::vector<MemoryOp> ops;
  // `full` tensors of the dtype and `full_f32` of float32, all of kCount elements, move per call.
  void add(const std::string& name, DType dtype, int full, int full_f32,
           std::function<void(Stream&, Tensors&)> run) {
    const int element = full * static_cast<int>(size_of(dtype)) + full_f32 * 4;
    ops.push_back({name + "/" + std::string(name_of(dtype)),
                   static_cast<double>(kCount) * static_cast<double>(element), std::move(run)});
  }
};

void add_norms(List& list, DType t) {
  list.add("rms_norm_forward", t, 2, 0, [=](Stream& s, Tensors& x) {
    ops::rms_norm_forward(s, x(0, t), x(8, DType::kF32, {kTokens}), x(1, t), x(2, t, {kWidth}),
                          1e-5F);
  });
  list.add("rms_norm_backward_input", t, 3, 0, [=](Stream& s, Tensors& x) {
    ops::rms_norm_backward_input(s, {.dx_TD = x(0, t),
                                     .dy_TD = x(3, t),
                                     .x_TD = x(1, t),
                                     .w_D = x(2, t, {kWidth}),
                                     .rstd_T = x(8, DType::kF32, {kTokens})});
  });
  list.add("rms_norm_backward_weight", t, 2, 0, [=](Stream& s, Tensors& x) {
    ops::rms_norm_backward_weight(s, x(9, DType::kF32, {kWidth}), x(3, t), x(1, t),
                                  x(8, DType::kF32, {kTokens}));
  });
  list.add("layer_norm_forward", t, 2, 0, [=](Stream& s, Tensors& x) {
    ops::layer_norm_forward(s, {.out_TD = x(0, t),
                                .mean_T = x(9, DType::kF32, {kTokens}),
                                .rstd_T = x(8, DType::kF32, {kTokens}),
                                .x_TD = x(1, t),
                                .w_D = x(2, t, {kWidth}),
                                .b_D = x(3, t, {kWidth}),
                                .eps = 1e-5F});
  });
}

void add_elementwise(List& list, DType t) {
  list.add("gelu_forward", t, 2, 0,
           [=](Stream& s, Tensors& x) { ops::gelu_forward(s, x(0, t), x(1, t)); });
  list.add("gelu_backward_input", t, 3, 0,
           [=](Stream& s, Tensors& x) { ops::gelu_backward_input(s, x(0, t), x(1, t), x(2, t)); });
  list.add("swiglu_forward", t, 3, 0,
           [=](Stream& s, Tensors& x) { ops::swiglu_forward(s, x(0, t), x(1, t), x(2, t)); });
  list.add("swiglu_backward_input", t, 5, 0, [=](Stream& s, Tensors& x) {
    ops::swiglu_backward_input(s, {.dgate_TI = x(0, t),
                                   .dup_TI = x(3, t),
                                   .dout_TI = x(1, t),
                                   .gate_TI = x(2, t),
                                   .up_TI = x(4, t)});
  });
  list.add("add", t, 3, 0, [=](Stream& s, Tensors& x) { ops::add(s, x(0, t), x(1, t), x(2, t)); });
  list.add("fill", t, 1, 0, [=](Stream& s, Tensors& x) { ops::fill(s, x(0, t), 0.0F); });
  list.add("cast_to_f32", t, 1, 1,
           [=](Stream& s, Tensors& x) { ops::cast(s, x(9, DType::kF32), x(1, t)); });
  list.add("bias_backward_weight", t, 1, 0, [=](Stream& s, Tensors& x) {
    ops::bias_backward_weight(s, x(9, DType::kF32, {kWidth}), x(1, t));
  });
  list.add("rope_forward", t, 2, 0, [=](Stream& s, Tensors& x) {
    ops::rope_forward(s, x(0, t, {kTokens, kWidth / 128, 128}), x(8, DType::kF32, {4096, 2, 64}),
                      x.ids(kTokens, 4096));
  });
}

void add_rows(List& list, DType t) {
  list.add("embedding_forward", t, 2, 0, [=](Stream& s, Tensors& x) {
    ops::embedding_forward(
        s, {.out_TD = x(0, t), .table_VD = x(1, t), .ids_T = x.ids(kTokens, kTokens)});
  });
  list.add("embedding_backward_weight", t, 1, 2, [=](Stream& s, Tensors& x) {
    ops::embedding_backward_weight(s, x(9, DType::kF32), x(1, t), x.ids(kTokens, kTokens), 0);
  });
  // As many whole rows of a vocabulary as the shared tensors hold.
  constexpr std::int64_t kRows = kCount / kVocabulary;
  list.add("cross_entropy_statistics", t, 1, 0, [=](Stream& s, Tensors& x) {
    ops::cross_entropy_statistics(s, {.max_C = x(8, DType::kF32, {kRows}),
                                      .sum_exp_C = x(9, DType::kF32, {kRows}),
                                      .target_logit_C = x(7, DType::kF32, {kRows}),
                                      .logits_CV = x(1, t, {kRows, kVocabulary}),
                                      .targets_C = x.ids(kRows, kVocabulary),
                                      .valid_columns = kVocabulary});
  });
  list.add("cross_entropy_backward_input", t, 2, 0, [=](Stream& s, Tensors& x) {
    ops::cross_entropy_backward_input(s, {.logits_CV = x(0, t, {kRows, kVocabulary}),
                                          .max_C = x(8, DType::kF32, {kRows}),
                                          .sum_exp_C = x(7, DType::kF32, {kRows}),
                                          .targets_C = x.ids(kRows, kVocabulary),
                                          .valid_columns = kVocabulary});
  });
}

// All elements in one piece.
void add_adamw(List& list, DType weight, DType state, bool master) {
  const std::string name = std::string("adamw_step") +
                           (state == DType::kBF16 ? "/state_bf16" : "") +
                           (master || weight == DType::kF32 ? "" : "/no_master");
  // The moments are two tensors read and written, of size_of(state) / 4 float32 each.
  const int full_f32 = (master ? 3 : 1) + static_cast<int>(size_of(state));
  list.add(name, weight, master ? 1 : 2, full_f32, [=](Stream& s, Tensors& x) {
    const AdamwPiece piece{.weight_N = x(0, weight),
                           .master_N = master ? x(6, DType::kF32) : Tensor(),
                           .m_N = x(7, state),
                           .v_N = x(8, state),
                           .grad_N = x(9, DType::kF32)};
    ops::adamw_step(s, {&piece, 1}, {.learning_rate = 1e-4F});
  });
}

}  // namespace

Tensor Tensors::operator()(int index, DType dtype, Shape shape) {
  const auto key = std::pair(index, dtype);
  if (!tensors_.contains(key)) {
    const auto bytes = static_cast<std::size_t>(kCount) * size_of(dtype);
    auto& arena = arenas_[key] = std::make_unique<Arena>(device_, bytes);
    const Tensor made = arena->allocate("shared", {kTokens, kWidth}, dtype);
    const auto stream = make_stream(device_, "bench");
    ops::normal_fill(*stream, {.out_RC = made,
                               .key = static_cast<std::uint64_t>(index),
                               .global_columns = kWidth,
                               .mean = 1.0F,
                               .stddev = 0.1F});
    stream->synchronize();
    tensors_.emplace(key, made);
  }
  Tensor out = tensors_.at(key);
  out.shape = shape;
  return out;
}

Tensor Tensors::operator()(int index, DType dtype) {
  return (*this)(index, dtype, {kTokens, kWidth});
}

Tensor Tensors::ids(std::int64_t count, std::int64_t limit) {
  const auto key = std::pair(count, limit);
  if (!ids_.contains(key)) {
    const test::Owned host = test::random_ids(count, 0, static_cast<std::int32_t>(limit), 1);
    auto& arena = id_arenas_[key] = std::make_unique<Arena>(device_, aligned(host.get().bytes()));
    const Tensor made = arena->allocate("ids", {count}, DType::kI32);
    const auto stream = make_stream(device_, "bench");
    ops::copy(*stream, made, host);
    stream->synchronize();
    ids_.emplace(key, made);
  }
  return ids_.at(key);
}

std::vector<MemoryOp> memory_ops() {
  List list;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    add_norms(list, dtype);
    add_elementwise(list, dtype);
    add_rows(list, dtype);
    for (const DType state : {DType::kF32, DType::kBF16}) {
      add_adamw(list, dtype, state, dtype != DType::kF32);
      if (dtype == DType::kBF16) add_adamw(list, dtype, state, false);
    }
  }
  list.add("block_sum_squares", DType::kF32, 1, 0, [](Stream& s, Tensors& x) {
    ops::block_sum_squares(s, x(9, DType::kF32, {kCount / 4096}), x(1, DType::kF32, {kCount}),
                           4096);
  });
  return std::move(list.ops);
}

}  // namespace frugal::bench
