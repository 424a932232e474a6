// Attention in GFLOP/s of the visible half of the scores: two products forward, five backward.
#include <benchmark/benchmark.h>

#include "kernels/ops/attention.h"
#include "tests/bench/benches.h"
#include "tests/bench/ceiling.h"
#include "tests/support/tensors.h"

namespace frugal::bench {
namespace {

using test::Owned;
using test::random_tensor;

struct Size {
  std::int64_t sequences, length, heads, kv_heads, head_dim;
};

void attention(benchmark::State& state, const Size& size, DType dtype, bool backward) {
  const std::int64_t tokens = size.sequences * size.length;
  const Shape query{tokens, size.heads, size.head_dim}, key{tokens, size.kv_heads, size.head_dim};
  const Owned q = random_tensor(query, dtype, 1), k = random_tensor(key, dtype, 2),
              v = random_tensor(key, dtype, 3), dout = random_tensor(query, dtype, 4);
  const Owned out(query, dtype), lse({tokens, size.heads}, DType::kF32), dq(query, dtype),
      dk(key, dtype), dv(key, dtype);
  const auto stream = make_stream({}, "bench");
  const AttentionForwardArgs forward_args{.out_TNH = out,
                                          .lse_TN = lse,
                                          .q_TNH = q,
                                          .k_TMH = k,
                                          .v_TMH = v,
                                          .sequence_length = size.length,
                                          .scale = 0.125F};
  ops::attention_forward(*stream, forward_args);
  for (auto _ : state) {
    if (!backward) {
      ops::attention_forward(*stream, forward_args);
      continue;
    }
    ops::attention_backward_input(*stream, {.dq_TNH = dq,
                                            .dk_TMH = dk,
                                            .dv_TMH = dv,
                                            .dout_TNH = dout,
                                            .q_TNH = q,
                                            .k_TMH = k,
                                            .v_TMH = v,
                                            .out_TNH = out,
                                            .lse_TN = lse,
                                            .sequence_length = size.length,
                                            .scale = 0.125F});
  }
  const double flops =
      (backward ? 5.0 : 2.0) * static_cast<double>(tokens) * static_cast<double>(size.length + 1) *
      static_cast<double>(size.heads * size.head_dim) * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
  state.counters["peak"] =
      benchmark::Counter(flops / float32_flops_per_second(), benchmark::Counter::kIsRate);
}

}  // namespace

void register_attention_benches() {
  for (const Size& size : {Size{4, 64, 12, 12, 64}, Size{1, 1024, 12, 12, 64},
                           Size{1, 1024, 16, 4, 128}, Size{1, 4096, 8, 2, 128}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const bool backward : {false, true}) {
        const std::string name =
            concat(backward ? "attention_backward_input/" : "attention_forward/", size.sequences,
                   "x", size.length, "x", size.heads, ":", size.kv_heads, "x", size.head_dim, "/",
                   name_of(dtype));
        benchmark::RegisterBenchmark(
            name.c_str(), [=](benchmark::State& state) { attention(state, size, dtype, backward); })
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace frugal::bench
