// What this machine can do: the limits that benchmarks are compared with.
#pragma once

namespace frugal::bench {

// Threads of every benchmark: --threads=N, 2 without.
int threads();
void set_threads(int count);

// Bytes per second of a[i] = b[i] + s * c[i] over arrays far larger than the caches, best of ten,
// counting each array once. Measured once. streaming: with stores that bypass the caches, which
// spares reading `a`; the ops use plain stores, since their results are read again soon.
double triad_bytes_per_second(bool streaming);

// Bytes per second of reading an array far larger than the caches, best of ten.
double read_bytes_per_second();

// Multiply-adds of float32 vectors in registers, in FLOP per second; measured once.
double float32_flops_per_second();

}  // namespace frugal::bench
