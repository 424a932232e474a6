// Memory-bound ops on tensors far larger than the caches. "triad" is the share of the measured
// triad that the op's least traffic (every input read once, every output written once) reaches.
#include <benchmark/benchmark.h>

#include <map>
#include <string>

#include "kernels/ops/activation.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/loss.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/optimizer.h"
#include "kernels/ops/rope.h"
#include "tests/bench/benches.h"
#include "tests/bench/ceiling.h"
#include "tests/support/tensors.h"

namespace frugal::bench {
namespace {

using test::Owned;
using test::random_ids;

constexpr std::int64_t kTokens = 16384, kWidth = 4096, kVocabulary = 50304;
constexpr std::int64_t kCount = kTokens * kWidth;

// One of the tensors that all benchmarks of a dtype share; values of ordinary size.
Tensor shared(int index, DType dtype, Shape shape = {kTokens, kWidth}) {
  static std::map<std::pair<int, DType>, Owned> tensors;
  const auto key = std::pair(index, dtype);
  if (!tensors.contains(key)) {
    Owned made({kTokens, kWidth}, dtype);
    const auto stream = make_stream({}, "bench");
    ops::normal_fill(*stream, {.out_RC = made,
                               .key = static_cast<std::uint64_t>(index),
                               .global_columns = kWidth,
                               .mean = 1.0F,
                               .stddev = 0.1F});
    tensors.emplace(key, std::move(made));
  }
  Tensor out = tensors.at(key);
  out.shape = shape;
  return out;
}

// `full` tensors of the dtype and `full_f32` of float32, all of kCount elements, move per call.
template <class Op>
void add(const std::string& name, DType dtype, int full, int full_f32, const Op& op) {
  const auto run = [=](benchmark::State& state) {
    const auto stream = make_stream({}, "bench");
    op(*stream, dtype);  // makes the tensors it needs
    for (auto _ : state) op(*stream, dtype);
    const double bytes =
        static_cast<double>(kCount) *
        static_cast<double>(full * static_cast<int>(size_of(dtype)) + full_f32 * 4);
    const double rate = bytes * static_cast<double>(state.iterations());
    state.counters["GB/s"] = benchmark::Counter(rate * 1e-9, benchmark::Counter::kIsRate);
    state.counters["triad"] =
        benchmark::Counter(rate / triad_bytes_per_second(false), benchmark::Counter::kIsRate);
  };
  benchmark::RegisterBenchmark((name + "/" + std::string(name_of(dtype))).c_str(), run)
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

void add_norms(DType dtype) {
  add("rms_norm_forward", dtype, 2, 0, [](Stream& s, DType t) {
    ops::rms_norm_forward(s, shared(0, t), shared(8, DType::kF32, {kTokens}), shared(1, t),
                          shared(2, t, {kWidth}), 1e-5F);
  });
  add("rms_norm_backward_input", dtype, 3, 0, [](Stream& s, DType t) {
    ops::rms_norm_backward_input(s, {.dx_TD = shared(0, t),
                                     .dy_TD = shared(3, t),
                                     .x_TD = shared(1, t),
                                     .w_D = shared(2, t, {kWidth}),
                                     .rstd_T = shared(8, DType::kF32, {kTokens})});
  });
  add("rms_norm_backward_weight", dtype, 2, 0, [](Stream& s, DType t) {
    ops::rms_norm_backward_weight(s, shared(9, DType::kF32, {kWidth}), shared(3, t), shared(1, t),
                                  shared(8, DType::kF32, {kTokens}));
  });
  add("layer_norm_forward", dtype, 2, 0, [](Stream& s, DType t) {
    ops::layer_norm_forward(s, {.out_TD = shared(0, t),
                                .mean_T = shared(9, DType::kF32, {kTokens}),
                                .rstd_T = shared(8, DType::kF32, {kTokens}),
                                .x_TD = shared(1, t),
                                .w_D = shared(2, t, {kWidth}),
                                .b_D = shared(3, t, {kWidth}),
                                .eps = 1e-5F});
  });
}

void add_elementwise(DType dtype) {
  add("gelu_forward", dtype, 2, 0,
      [](Stream& s, DType t) { ops::gelu_forward(s, shared(0, t), shared(1, t)); });
  add("gelu_backward_input", dtype, 3, 0, [](Stream& s, DType t) {
    ops::gelu_backward_input(s, shared(0, t), shared(1, t), shared(2, t));
  });
  add("swiglu_forward", dtype, 3, 0,
      [](Stream& s, DType t) { ops::swiglu_forward(s, shared(0, t), shared(1, t), shared(2, t)); });
  add("swiglu_backward_input", dtype, 5, 0, [](Stream& s, DType t) {
    ops::swiglu_backward_input(s, {.dgate_TI = shared(0, t),
                                   .dup_TI = shared(3, t),
                                   .dout_TI = shared(1, t),
                                   .gate_TI = shared(2, t),
                                   .up_TI = shared(4, t)});
  });
  add("add", dtype, 3, 0,
      [](Stream& s, DType t) { ops::add(s, shared(0, t), shared(1, t), shared(2, t)); });
  add("fill", dtype, 1, 0, [](Stream& s, DType t) { ops::fill(s, shared(0, t), 0.0F); });
  add("cast_to_f32", dtype, 1, 1,
      [](Stream& s, DType t) { ops::cast(s, shared(9, DType::kF32), shared(1, t)); });
  add("bias_backward_weight", dtype, 1, 0, [](Stream& s, DType t) {
    ops::bias_backward_weight(s, shared(9, DType::kF32, {kWidth}), shared(1, t));
  });
  add("rope_forward", dtype, 2, 0, [](Stream& s, DType t) {
    ops::rope_forward(s, shared(0, t, {kTokens, kWidth / 128, 128}),
                      shared(8, DType::kF32, {4096, 2, 64}));
  });
}

void add_rows(DType dtype) {
  add("embedding_forward", dtype, 2, 0, [](Stream& s, DType t) {
    static const Owned ids = random_ids(kTokens, 0, kTokens, 1);
    ops::embedding_forward(s, {.out_TD = shared(0, t), .table_VD = shared(1, t), .ids_T = ids});
  });
  add("embedding_backward_weight", dtype, 1, 2, [](Stream& s, DType t) {
    static const Owned ids = random_ids(kTokens, 0, kTokens, 1);
    ops::embedding_backward_weight(s, shared(9, DType::kF32), shared(1, t), ids, 0);
  });
  // As many whole rows of a vocabulary as the shared tensors hold.
  constexpr std::int64_t kRows = kCount / kVocabulary;
  add("cross_entropy_statistics", dtype, 1, 0, [](Stream& s, DType t) {
    static const Owned ids = random_ids(kRows, 0, kVocabulary, 1);
    ops::cross_entropy_statistics(s, {.max_C = shared(8, DType::kF32, {kRows}),
                                      .sum_exp_C = shared(9, DType::kF32, {kRows}),
                                      .target_logit_C = shared(7, DType::kF32, {kRows}),
                                      .logits_CV = shared(1, t, {kRows, kVocabulary}),
                                      .targets_C = ids,
                                      .valid_columns = kVocabulary});
  });
  add("cross_entropy_backward_input", dtype, 2, 0, [](Stream& s, DType t) {
    static const Owned ids = random_ids(kRows, 0, kVocabulary, 1);
    ops::cross_entropy_backward_input(s, {.logits_CV = shared(0, t, {kRows, kVocabulary}),
                                          .max_C = shared(8, DType::kF32, {kRows}),
                                          .sum_exp_C = shared(7, DType::kF32, {kRows}),
                                          .targets_C = ids,
                                          .valid_columns = kVocabulary});
  });
  const bool mixed = dtype == DType::kBF16;
  add("adamw_step", dtype, mixed ? 1 : 2, mixed ? 7 : 5, [mixed](Stream& s, DType t) {
    ops::adamw_step(s, {.weight_N = shared(0, t),
                        .master_N = mixed ? shared(6, DType::kF32) : Tensor(),
                        .m_N = shared(7, DType::kF32),
                        .v_N = shared(8, DType::kF32),
                        .grad_N = shared(9, DType::kF32),
                        .learning_rate = 1e-4F});
  });
}

}  // namespace

void register_memory_benches() {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    add_norms(dtype);
    add_elementwise(dtype);
    add_rows(dtype);
  }
  add("block_sum_squares", DType::kF32, 1, 0, [](Stream& s, DType t) {
    ops::block_sum_squares(s, shared(9, t, {kCount / 4096}), shared(1, t, {kCount}), 4096);
  });
}

}  // namespace frugal::bench
