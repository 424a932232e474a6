// Every op against the limit of this machine. Takes Google Benchmark's options and --threads=N.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include "tests/bench/benches.h"
#include "tests/bench/ceiling.h"

int main(int argc, char** argv) {
  namespace bench = frugal::bench;
  benchmark::Initialize(&argc, argv);
  bench::set_threads(2);
  constexpr std::string_view kThreads = "--threads=";
  if (argc == 2 && std::string_view(argv[1]).starts_with(kThreads)) {
    bench::set_threads(std::max(1, std::atoi(argv[1] + kThreads.size())));
  } else if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 2;
  }
  std::cout << bench::threads() << " threads; triad " << bench::triad_bytes_per_second(false) * 1e-9
            << " GB/s (with streaming stores " << bench::triad_bytes_per_second(true) * 1e-9
            << "); float32 multiply-adds " << bench::float32_flops_per_second() * 1e-9 << " GFLOP/s"
            << std::endl;
  bench::register_matmul_benches();
  bench::register_attention_benches();
  bench::register_memory_benches();
  benchmark::RunSpecifiedBenchmarks();
}
