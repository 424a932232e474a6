// The families of op benchmarks; each registers its own with Google Benchmark.
#pragma once

namespace frugal::bench {

void register_memory_benches();
void register_matmul_benches();
void register_attention_benches();

}  // namespace frugal::bench
