// Memory-bound ops of the CPU. "triad" is the share of the measured triad that the op's least
// traffic reaches.
#include <benchmark/benchmark.h>

#include "tests/bench/benches.h"
#include "tests/bench/ceiling.h"
#include "tests/bench/memory_ops.h"

namespace frugal::bench {

void register_memory_benches() {
  static Tensors tensors({});
  for (const MemoryOp& op : memory_ops()) {
    const auto run = [op](benchmark::State& state) {
      const auto stream = make_stream({}, "bench");
      op.run(*stream, tensors);  // makes the tensors it needs
      for (auto _ : state) op.run(*stream, tensors);
      const double rate = op.bytes * static_cast<double>(state.iterations());
      state.counters["GB/s"] = benchmark::Counter(rate * 1e-9, benchmark::Counter::kIsRate);
      state.counters["triad"] =
          benchmark::Counter(rate / triad_bytes_per_second(false), benchmark::Counter::kIsRate);
    };
    benchmark::RegisterBenchmark(op.name.c_str(), run)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace frugal::bench
