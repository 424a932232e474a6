#include "tests/bench/ceiling.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include "kernels/core/threads.h"
#include "tests/bench/timing.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/ceiling.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "hwy/aligned_allocator.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::bench::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;

void triad(float* a, const float* b, const float* c, std::int64_t count, bool streaming) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; i += lanes) {
    const auto sum = hn::MulAdd(hn::Set(d, 3.0F), hn::Load(d, c + i), hn::Load(d, b + i));
    streaming ? hn::Stream(sum, d, a + i) : hn::Store(sum, d, a + i);
  }
}

// Sums of eight streams through each thread's part.
void read(const float* a, std::int64_t count, float& sink) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
#pragma omp parallel
  {
    constexpr std::size_t kSums = 8;
    hn::Vec<F32> x[kSums];
    for (auto& sum : x) sum = hn::Zero(d);
    const std::int64_t step = lanes * static_cast<std::int64_t>(kSums);
#pragma omp for schedule(static)
    for (std::int64_t i = 0; i < count; i += step) {
      for (std::size_t j = 0; j < kSums; ++j) {
        x[j] = hn::Add(x[j], hn::Load(d, a + i + static_cast<std::int64_t>(j) * lanes));
      }
    }
    for (std::size_t j = 1; j < kSums; ++j) x[0] = hn::Add(x[0], x[j]);
#pragma omp critical
    sink += hn::GetLane(hn::SumOfLanes(d, x[0]));
  }
}

// 12 independent chains of `count` multiply-adds on each thread; returns the floating point
// operations of one thread.
double multiply_adds(std::int64_t count, float& sink) {
  const F32 d;
  constexpr std::size_t kChains = 12;  // enough for the latency, few enough for 16 registers
  const float start = sink;
#pragma omp parallel
  {
    hn::Vec<F32> x[kChains];
    for (std::size_t j = 0; j < kChains; ++j) x[j] = hn::Set(d, start + static_cast<float>(j));
    const auto factor = hn::Set(d, 0.999F), term = hn::Set(d, 0.001F);
    for (std::int64_t i = 0; i < count; ++i)
      for (std::size_t j = 0; j < kChains; ++j) x[j] = hn::MulAdd(x[j], factor, term);
    for (std::size_t j = 1; j < kChains; ++j) x[0] = hn::Add(x[0], x[j]);
#pragma omp critical
    sink += hn::GetLane(hn::SumOfLanes(d, x[0]));
  }
  return 2.0 * static_cast<double>(count) * static_cast<double>(kChains * hn::Lanes(d));
}

}  // namespace frugal::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::bench {

HWY_EXPORT(triad);
HWY_EXPORT(read);
HWY_EXPORT(multiply_adds);

namespace {

int thread_count = 2;

template <class Fn>
double best_seconds(const Fn& fn) {
  double best = 1e30;
  for (int run = 0; run < 10; ++run) {
    best = std::min(best, seconds_of(fn));
  }
  return best;
}

double measure_triad(bool streaming) {
  constexpr std::int64_t kCount = std::int64_t{1} << 26;
  std::array<hwy::AlignedFreeUniquePtr<float[]>, 3> x;
  for (auto& array : x) {
    array = hwy::AllocateAligned<float>(kCount);
    std::fill_n(array.get(), kCount, 1.0F);
  }
  const double seconds = best_seconds([&] {
    HWY_DYNAMIC_DISPATCH(triad)(x[0].get(), x[1].get(), x[2].get(), kCount, streaming);
  });
  return 3.0 * sizeof(float) * static_cast<double>(kCount) / seconds;
}

}  // namespace

int threads() {
  return thread_count;
}

void set_threads(int count) {
  thread_count = count;
  set_compute_threads(count);
}

double triad_bytes_per_second(bool streaming) {
  static const double plain = measure_triad(false), streamed = measure_triad(true);
  return streaming ? streamed : plain;
}

double read_bytes_per_second() {
  constexpr std::int64_t kCount = std::int64_t{1} << 27;
  set_compute_threads(threads());
  const auto array = hwy::AllocateAligned<float>(kCount);
  std::fill_n(array.get(), kCount, 1.0F);
  volatile float keep = 0.0F;
  const double seconds = best_seconds([&] {
    float sink = 0.0F;
    HWY_DYNAMIC_DISPATCH(read)(array.get(), kCount, sink);
    keep = sink;
  });
  return sizeof(float) * static_cast<double>(kCount) / seconds;
}

double float32_flops_per_second() {
  static const double rate = [] {
    float sink = 1.0F;
    double flops = 0.0;
    const double seconds =
        best_seconds([&] { flops = HWY_DYNAMIC_DISPATCH(multiply_adds)(5000000, sink); });
    return sink == 0.0F ? 0.0 : flops * threads() / seconds;
  }();
  return rate;
}

}  // namespace frugal::bench
#endif  // HWY_ONCE
