// Kernels on a GPU against its measured ceilings: one JSON object a line, name, unit, value (median
// of batches), p10, p90 and the share of its ceiling. On the CPU too (--device cpu), to try it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "fmt/format.h"
#include "kernels/core/arena.h"
#include "kernels/core/threads.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/op_table.h"
#include "kernels/ops/product.h"
#include "tests/bench/memory_ops.h"

namespace frugal::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Rates {  // of work per second
  double median, p10, p90;
};

class Bench {
 public:
  Bench(Device device, double budget_seconds, std::string filter)
      : device_(device),
        budget_(budget_seconds),
        filter_(std::move(filter)),
        stream_(make_stream(device, "bench")) {}

  Stream& stream() { return *stream_; }
  Device device() const { return device_; }
  bool wants(const std::string& name) const { return name.find(filter_) != std::string::npos; }

  // Batches between two waits are so long that starting them counts for nothing.
  Rates measure(double work, const std::function<void()>& enqueue) {
    const auto batch = [&](int runs) {
      const auto begin = Clock::now();
      for (int i = 0; i < runs; ++i) enqueue();
      stream_->synchronize();
      return std::chrono::duration<double>(Clock::now() - begin).count();
    };
    batch(1);  // chooses algorithms, loads code
    const double once = batch(1);
    const int runs = std::max(1, static_cast<int>(0.01 / once));
    std::vector<double> rates;
    double spent = 0;
    while (spent < budget_ || rates.size() < 5) {
      const double seconds = batch(runs);
      spent += seconds;
      rates.push_back(work * runs / seconds);
    }
    std::ranges::sort(rates);
    const auto at = [&](double q) {
      return rates[static_cast<std::size_t>(
          std::lround(q * static_cast<double>(rates.size() - 1)))];
    };
    return {at(0.5), at(0.1), at(0.9)};
  }

  // scale: of the unit, e.g. 1e12 for TFLOP/s. ceiling: in work per second; 0: it is one.
  Rates report(const std::string& name, const std::string& unit, double scale, double ceiling,
               const Rates& rates) {
    fmt::print(R"({{"name": "{}", "unit": "{}", "value": {:.4g}, "p10": {:.4g}, "p90": {:.4g})",
               name, unit, rates.median / scale, rates.p10 / scale, rates.p90 / scale);
    if (ceiling > 0) fmt::print(R"(, "share": {:.3f})", rates.median / ceiling);
    fmt::print("}}\n");
    std::fflush(stdout);
    return rates;
  }

 private:
  Device device_;
  double budget_;
  std::string filter_;
  std::unique_ptr<Stream> stream_;
};

// Tensors of random numbers for one measurement.
class Operands {
 public:
  Operands(Bench& bench, std::size_t bytes) : bench_(bench), arena_(bench.device(), bytes) {}
  Tensor random(Shape shape, DType dtype) {
    const Tensor out = arena_.allocate("operand", shape, dtype);
    Tensor flat = out;
    flat.shape = {1, shape.numel()};
    ops::normal_fill(bench_.stream(),
                     {.out_RC = flat, .key = ++key_, .global_columns = shape.numel()});
    return out;
  }

 private:
  Bench& bench_;
  Arena arena_;
  std::uint64_t key_ = 0;
};

struct Size {
  std::int64_t m, n, k;
  bool transpose_a = false, transpose_b = false, accumulate = false;
};

Rates product(Bench& bench, const std::string& name, const Size& s, double ceiling) {
  const DType in = DType::kBF16, out = s.accumulate ? DType::kF32 : DType::kBF16;
  Operands operands(bench, aligned(static_cast<std::size_t>(s.m * s.k) * 2) +
                               aligned(static_cast<std::size_t>(s.k * s.n) * 2) +
                               aligned(static_cast<std::size_t>(s.m * s.n) * size_of(out)));
  const MatmulArgs args{.out_MN = operands.random({s.m, s.n}, out),
                        .a = operands.random(s.transpose_a ? Shape{s.k, s.m} : Shape{s.m, s.k}, in),
                        .b = operands.random(s.transpose_b ? Shape{s.n, s.k} : Shape{s.k, s.n}, in),
                        .transpose_a = s.transpose_a,
                        .transpose_b = s.transpose_b,
                        .accumulate = s.accumulate};
  AlgorithmChoices choices;
  if (!on_host(bench.device())) {
    cu::choose_algorithms(bench.device(), {product_of(args)}, choices);
  }
  const double flop =
      2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  return bench.report(name, "TFLOP/s", 1e12, ceiling,
                      bench.measure(flop, [&] { ops::matmul(bench.stream(), args); }));
}

double copy_ceiling(Bench& bench) {
  const std::int64_t bytes = on_host(bench.device()) ? 1 << 28 : 1 << 30;
  Arena arena(bench.device(), 2 * static_cast<std::size_t>(bytes));
  const Tensor from = arena.allocate("from", {bytes}, DType::kU8);
  const Tensor to = arena.allocate("to", {bytes}, DType::kU8);
  const auto rates =
      bench.measure(2.0 * static_cast<double>(bytes), [&] { ops::copy(bench.stream(), to, from); });
  return bench.report("ceiling: copy", "GB/s", 1e9, 0, rates).median;
}

// The products of a Llama block 4096 wide on `tokens` tokens, and of its head.
void products(Bench& bench, double ceiling) {
  const std::int64_t tokens = on_host(bench.device()) ? 128 : 8192;
  struct Layer {
    const char* name;
    std::int64_t in, out;
  };
  for (const Layer& layer :
       {Layer{"q", 4096, 4096}, Layer{"kv", 4096, 1024}, Layer{"up", 4096, 14336},
        Layer{"down", 14336, 4096}, Layer{"head", 4096, 128256}}) {
    const std::string name = std::string("matmul ") + layer.name;
    // The head goes in chunks.
    const std::int64_t rows = layer.out > 100000 ? std::min<std::int64_t>(tokens, 512) : tokens;
    if (!bench.wants(name)) continue;
    product(bench, name + " forward",
            {.m = rows, .n = layer.out, .k = layer.in, .transpose_b = true}, ceiling);
    product(bench, name + " input", {.m = rows, .n = layer.in, .k = layer.out}, ceiling);
    product(bench, name + " weight",
            {.m = layer.out, .n = layer.in, .k = rows, .transpose_a = true, .accumulate = true},
            ceiling);
  }
}

struct AttentionSize {
  std::int64_t sequences, length, heads, kv_heads, head_dim;
};

void attention(Bench& bench, const AttentionSize& s, double ceiling) {
  const std::string shape =
      fmt::format(" {}x{}x{}:{}x{}", s.sequences, s.length, s.heads, s.kv_heads, s.head_dim);
  if (!bench.wants("attention" + shape)) return;
  const std::int64_t tokens = s.sequences * s.length;
  const Shape query{tokens, s.heads, s.head_dim}, key{tokens, s.kv_heads, s.head_dim};
  const std::size_t query_bytes = aligned(static_cast<std::size_t>(query.numel()) * 2);
  const std::size_t key_bytes = aligned(static_cast<std::size_t>(key.numel()) * 2);
  Operands operands(bench, 4 * query_bytes + 4 * key_bytes +
                               aligned(static_cast<std::size_t>(tokens * s.heads) * 4));
  const auto make = [&](const Shape& of) { return operands.random(of, DType::kBF16); };
  const Tensor q = make(query), k = make(key), v = make(key), out = make(query), dout = make(query),
               dq = make(query), dk = make(key), dv = make(key);
  const Tensor lse = operands.random({tokens, s.heads}, DType::kF32);
  const float scale = 1.0F / std::sqrt(static_cast<float>(s.head_dim));
  const double forward_flop = 2.0 * static_cast<double>(tokens) *
                              static_cast<double>(s.length + 1) *
                              static_cast<double>(s.heads * s.head_dim);
  bench.report("attention forward" + shape, "TFLOP/s", 1e12, ceiling,
               bench.measure(forward_flop, [&] {
                 ops::attention_forward(bench.stream(), {.out_TNH = out,
                                                         .lse_TN = lse,
                                                         .q_TNH = q,
                                                         .k_TMH = k,
                                                         .v_TMH = v,
                                                         .sequence_length = s.length,
                                                         .scale = scale});
               }));
  bench.report("attention backward" + shape, "TFLOP/s", 1e12, ceiling,
               bench.measure(2.5 * forward_flop, [&] {
                 ops::attention_backward_input(bench.stream(), {.dq_TNH = dq,
                                                                .dk_TMH = dk,
                                                                .dv_TMH = dv,
                                                                .dout_TNH = dout,
                                                                .q_TNH = q,
                                                                .k_TMH = k,
                                                                .v_TMH = v,
                                                                .out_TNH = out,
                                                                .lse_TN = lse,
                                                                .sequence_length = s.length,
                                                                .scale = scale});
               }));
}

void run(Bench& bench) {
  const double copy = copy_ceiling(bench);
  const std::int64_t n = on_host(bench.device()) ? 1024 : 8192;
  const double multiply =
      product(bench, "ceiling: bf16 matmul", {.m = n, .n = n, .k = n, .transpose_b = true}, 0)
          .median;
  {
    Tensors tensors(bench.device());
    for (const MemoryOp& op : memory_ops()) {
      if (!bench.wants(op.name)) continue;
      bench.report(op.name, "GB/s", 1e9, copy,
                   bench.measure(op.bytes, [&] { op.run(bench.stream(), tensors); }));
    }
  }
  products(bench, multiply);
  std::vector<AttentionSize> sizes{
      {8, 1024, 12, 12, 64}, {2, 4096, 64, 8, 128}, {1, 8192, 64, 8, 128}, {1, 16384, 64, 8, 128}};
  if (on_host(bench.device())) sizes = {{1, 256, 4, 2, 64}};
  for (const AttentionSize& size : sizes) attention(bench, size, multiply);
}

}  // namespace
}  // namespace frugal::bench

int main(int argc, char** argv) {
  std::string device = "cuda", filter;
  double seconds = 0.2;
  CLI::App app("Kernels of one GPU against its measured ceilings");
  app.add_option("--device", device)->check(CLI::IsMember({"cuda", "cpu"}));
  app.add_option("--seconds", seconds, "of each measurement")->check(CLI::PositiveNumber);
  app.add_option("--filter", filter, "only names with this in them");
  CLI11_PARSE(app, argc, argv);
  if (device == "cuda" && frugal::cu::table() == nullptr) {
    std::cerr << "gpu_bench: " << frugal::cu::missing() << "\n";
    return 3;
  }
  frugal::set_compute_threads(frugal::available_cores());
  const frugal::Device where{device == "cuda" ? frugal::DeviceType::kCuda
                                              : frugal::DeviceType::kCpu};
  frugal::bench::Bench bench(where, seconds, filter);
  frugal::bench::run(bench);
}
