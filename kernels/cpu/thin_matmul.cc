#include "kernels/cpu/thin_matmul.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/thin_matmul.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

// Dot products of kRows rows of a with one row of b, which is read once. Several sums for each hide
// the latency of addition.
template <int kRows, class T>
HWY_INLINE void dot_rows(const float* a, const T* b, std::int64_t k, float* out) {
  constexpr int kSums = kRows > 2 ? 2 : 4;  // in all at most 8 registers
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  Vec sums[kRows][kSums];
  for (auto& row : sums) {
    for (Vec& sum : row) sum = hn::Zero(d);
  }
  std::int64_t i = 0;
  for (; i + kSums * lanes <= k; i += kSums * lanes) {
    for (int s = 0; s < kSums; ++s) {
      const Vec y = load(b + i + s * lanes, All());
      for (int r = 0; r < kRows; ++r) {
        sums[r][s] = hn::MulAdd(y, load(a + r * k + i + s * lanes, All()), sums[r][s]);
      }
    }
  }
  for (; i < k; i += lanes) {
    const First rest{static_cast<std::size_t>(std::min(lanes, k - i))};
    const Vec y = load(b + i, rest);
    for (int r = 0; r < kRows; ++r) {
      sums[r][0] = hn::MulAdd(y, load(a + r * k + i, rest), sums[r][0]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int s = kSums / 2; s > 0; s /= 2) {
      for (int t = 0; t < s; ++t) sums[r][t] = hn::Add(sums[r][t], sums[r][t + s]);
    }
    out[r] = hn::GetLane(hn::SumOfLanes(d, sums[r][0]));
  }
}

template <int kRows, class T>
void multiply_rows(const MatmulArgs& args, const float* a) {
  const std::int64_t columns = args.out_MN.shape[1], k = args.b.shape[1];
  const T* b = args.b.as<T>();
  const bool add = given(args.add_MN);
  parallel_blocks(
      columns, 16,
      [=, &args](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = begin; n < end; ++n) {
          float sums[kRows];
          dot_rows<kRows>(a, b + n * k, k, sums);
          const float bias = given(args.bias_N) ? static_cast<float>(args.bias_N.as<T>()[n]) : 0.0F;
          visit_float(args.out_MN.dtype, [&]<class Out>() {
            Out* out = args.out_MN.as<Out>() + n;
            for (int r = 0; r < kRows; ++r) {
              float value = sums[r] + bias;
              if (args.accumulate) value += static_cast<float>(out[r * columns]);
              if (add) value += static_cast<float>(args.add_MN.as<Out>()[r * columns + n]);
              out[r * columns] = Out(value);
            }
          });
        }
      },
      k);
}

void multiply_thin(const MatmulArgs& args) {
  thread_local std::vector<float> rows;
  const float* a = rows.data();
  visit_float(args.a.dtype, [&]<class T>() {
    if constexpr (std::is_same_v<T, float>) {
      a = args.a.as<float>();
    } else {
      const auto count = args.a.numel();
      if (std::ssize(rows) < count) rows.resize(static_cast<std::size_t>(count));
      float* to = rows.data();
      const T* from = args.a.as<T>();
      for_vectors(0, count,
                  [=](std::int64_t i, auto lanes) { store(load(from + i, lanes), to + i, lanes); });
      a = to;
    }
    switch (args.out_MN.shape[0]) {
      case 1:
        return multiply_rows<1, T>(args, a);
      case 2:
        return multiply_rows<2, T>(args, a);
      case 3:
        return multiply_rows<3, T>(args, a);
      default:
        return multiply_rows<4, T>(args, a);
    }
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(multiply_thin);

bool is_thin(const MatmulArgs& args) {
  constexpr std::int64_t kMostRows = 4;
  return args.out_MN.shape[0] <= kMostRows && args.transpose_b && !args.transpose_a;
}

void thin_matmul(const MatmulArgs& args) {
  HWY_DYNAMIC_DISPATCH(multiply_thin)(args);
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
