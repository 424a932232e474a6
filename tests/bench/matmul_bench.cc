// ops::matmul against the bare oneDNN call of the same product in the same dtype, in turns in one
// loop. "onednn" is how many times faster than it the op is, by medians.
#include <benchmark/benchmark.h>

#include <unordered_map>
#include <vector>

#include <dnnl.hpp>

#include "kernels/ops/matmul.h"
#include "tests/bench/benches.h"
#include "tests/bench/ceiling.h"
#include "tests/bench/timing.h"
#include "tests/support/tensors.h"

namespace frugal::bench {
namespace {

using dnnl::memory;
using test::Owned;
using test::random_tensor;

struct Product {
  const char* name;
  std::int64_t m, n, k;
  bool transpose_a, transpose_b, accumulate;  // accumulating products have a float32 result
};

class BareProduct {
 public:
  BareProduct(const Product& p, DType dtype, const Owned& a, const Owned& b, const Owned& out)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    const auto type = [](DType t) {
      return t == DType::kBF16 ? memory::data_type::bf16 : memory::data_type::f32;
    };
    const auto tag = [](bool transposed) {
      return transposed ? memory::format_tag::ba : memory::format_tag::ab;
    };
    const memory::desc a_desc({p.m, p.k}, type(dtype), tag(p.transpose_a));
    const memory::desc b_desc({p.k, p.n}, type(dtype), tag(p.transpose_b));
    const memory::desc out_desc({p.m, p.n}, type(out.get().dtype), tag(false));
    dnnl::primitive_attr attributes;
    if (p.accumulate) {
      dnnl::post_ops post;
      post.append_sum(1.0F);
      attributes.set_post_ops(post);
    }
    primitive_ = dnnl::matmul({{a_desc, b_desc, out_desc}, attributes, engine_});
    arguments_ = {{DNNL_ARG_SRC, memory(a_desc, engine_, a.get().data)},
                  {DNNL_ARG_WEIGHTS, memory(b_desc, engine_, b.get().data)},
                  {DNNL_ARG_DST, memory(out_desc, engine_, out.get().data)}};
  }
  void run() {
    primitive_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul primitive_;
  std::unordered_map<int, memory> arguments_;
};

void matmul(benchmark::State& state, const Product& p, DType dtype) {
  const Owned a = random_tensor(p.transpose_a ? Shape{p.k, p.m} : Shape{p.m, p.k}, dtype, 1);
  const Owned b = random_tensor(p.transpose_b ? Shape{p.n, p.k} : Shape{p.k, p.n}, dtype, 2);
  const Owned out = random_tensor({p.m, p.n}, p.accumulate ? DType::kF32 : dtype, 3);
  const auto stream = make_stream({}, "bench");
  const auto op = [&] {
    ops::matmul(*stream, {.out_MN = out,
                          .a = a,
                          .b = b,
                          .transpose_a = p.transpose_a,
                          .transpose_b = p.transpose_b,
                          .accumulate = p.accumulate});
  };
  BareProduct bare(p, dtype, a, b, out);
  op(), bare.run();
  std::vector<double> ours, theirs;
  for (auto _ : state) {
    ours.push_back(seconds_of(op));
    theirs.push_back(seconds_of([&] { bare.run(); }));
    state.SetIterationTime(ours.back());
  }
  const double flops = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) *
                       static_cast<double>(p.k) / median(ours);
  state.counters["GFLOP/s"] = flops * 1e-9;
  state.counters["peak"] = flops / float32_flops_per_second();
  state.counters["onednn"] = median(theirs) / median(ours);
}

}  // namespace

// GPT-2 124M on 256 tokens, the head in one chunk of 166; a model 2048 wide on 512 tokens.
void register_matmul_benches() {
  static constexpr Product kProducts[] = {
      {"qkv_forward", 256, 768, 768, false, true, false},
      {"qkv_input", 256, 768, 768, false, false, false},
      {"qkv_weight", 768, 768, 256, true, false, true},
      {"up_forward", 256, 3072, 768, false, true, false},
      {"up_input", 256, 768, 3072, false, false, false},
      {"up_weight", 3072, 768, 256, true, false, true},
      {"down_forward", 256, 768, 3072, false, true, false},
      {"down_input", 256, 3072, 768, false, false, false},
      {"down_weight", 768, 3072, 256, true, false, true},
      {"head_forward", 166, 50304, 768, false, true, false},
      {"head_input", 166, 768, 50304, false, false, false},
      {"head_weight", 50304, 768, 166, true, false, true},
      {"wide_forward", 512, 2048, 2048, false, true, false},
      {"wide_input", 512, 2048, 2048, false, false, false},
      {"wide_weight", 2048, 2048, 512, true, false, true},
  };
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Product& product : kProducts) {
      benchmark::RegisterBenchmark(
          concat("matmul/", product.name, "/", name_of(dtype)).c_str(),
          [&product, dtype](benchmark::State& state) { matmul(state, product, dtype); })
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace frugal::bench
