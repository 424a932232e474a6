#include "kernels/cpu/thin_matmul.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "kernels/core/check.h"
#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/thin_matmul.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

// Two vectors of consecutive elements. Of bf16 the even ones and the odd ones: two bit operations
// instead of two conversions of half vectors.
struct Pair {
  Vec first, second;
};
template <class T>
HWY_INLINE Pair load_pair(const T* from) {
  return {load(from, All()), load(from + hn::Lanes(F32()), All())};
}
HWY_INLINE Pair load_pair(const BFloat16* from) {
  const F32 d;
  const hn::RebindToUnsigned<F32> d32;
  const auto bits = hn::LoadU(d32, reinterpret_cast<const std::uint32_t*>(from));
  return {hn::BitCast(d, hn::ShiftLeft<16>(bits)),
          hn::BitCast(d, hn::And(bits, hn::Set(d32, 0xffff0000)))};
}

// The processor's own reading ahead stops at each page and starts slowly. What is read once need
// not push anything else out of the caches.
constexpr std::int64_t kReadAhead = 4096;  // bytes
constexpr std::int64_t kCacheLine = 64;

// Dot products of kRows rows of a with one row of b, which is read once. a: float32 pairs as
// load_pair gives them, padded with zeros to whole pairs.
template <int kRows, class T>
HWY_INLINE void dot_rows(const float* a, const T* b, std::int64_t k, float* out) {
  constexpr int kPairs =
      kRows > 2 ? 1 : 2;  // sums hide the latency of addition: at most 8 registers
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t pair = 2 * lanes, padded = (k + pair - 1) / pair * pair;
  Pair sums[kRows][kPairs];
  for (auto& row : sums) {
    for (Pair& sum : row) sum = {hn::Zero(d), hn::Zero(d)};
  }
  const auto add = [&](const T* from, std::int64_t i, int p) {
    const Pair y = load_pair(from);
    for (int r = 0; r < kRows; ++r) {
      const float* x = a + r * padded + i;
      sums[r][p].first = hn::MulAdd(y.first, hn::LoadU(d, x), sums[r][p].first);
      sums[r][p].second = hn::MulAdd(y.second, hn::LoadU(d, x + lanes), sums[r][p].second);
    }
  };
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  std::int64_t i = 0;
  for (; i + kPairs * pair <= k; i += kPairs * pair) {
    const std::byte* ahead = reinterpret_cast<const std::byte*>(b + i) + kReadAhead;
    for (std::int64_t byte = 0; byte < kPairs * pair * kSize; byte += kCacheLine) {
      __builtin_prefetch(ahead + byte, 0, 0);
    }
    for (int p = 0; p < kPairs; ++p) add(b + i + p * pair, i + p * pair, p);
  }
  for (; i + pair <= k; i += pair) add(b + i, i, 0);
  if (i < k) {
    HWY_ALIGN T rest[2 * hn::MaxLanes(d)] = {};
    std::copy_n(b + i, k - i, rest);
    add(rest, i, 0);
  }
  for (int r = 0; r < kRows; ++r) {
    Vec sum = hn::Add(sums[r][0].first, sums[r][0].second);
    for (int p = 1; p < kPairs; ++p) {
      sum = hn::Add(sum, hn::Add(sums[r][p].first, sums[r][p].second));
    }
    out[r] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

constexpr std::int64_t kColumns = 16;  // an item of work

// Columns [begin, end) of the result, at most kColumns, from their sums of products.
template <int kRows, class T>
void finish(const MatmulArgs& args, const float (&sums)[kRows][kColumns], std::int64_t begin,
            std::int64_t end) {
  const std::int64_t columns = args.out_MN.shape[1];
  const T* bias = given(args.bias_N) ? args.bias_N.as<T>() + begin : nullptr;
  visit_float(args.out_MN.dtype, [&]<class Out>() {
    for (int r = 0; r < kRows; ++r) {
      const float* from = sums[r];
      Out* out = args.out_MN.as<Out>() + r * columns + begin;
      const Out* addend = args.accumulate ? out : nullptr;
      if (given(args.add_MN)) addend = args.add_MN.as<Out>() + r * columns + begin;
      for_vectors(0, end - begin, [=](std::int64_t i, auto lanes) {
        Vec value = load(from + i, lanes);
        if (bias != nullptr) value = hn::Add(value, load(bias + i, lanes));
        if (addend != nullptr) value = hn::Add(value, load(addend + i, lanes));
        store(value, out + i, lanes);
      });
    }
  });
}

// Columns [begin, end) of the result, at most kColumns. a: as widen_rows wrote it.
template <int kRows, class T>
void multiply_columns(const MatmulArgs& args, const float* a, std::int64_t begin,
                      std::int64_t end) {
  const std::int64_t k = args.b.shape[1];
  const T* b = args.b.as<T>();
  float sums[kRows][kColumns];
  for (std::int64_t n = begin; n < end; ++n) {
    float dots[kRows];
    dot_rows<kRows>(a, b + n * k, k, dots);
    for (int r = 0; r < kRows; ++r) sums[r][n - begin] = dots[r];
  }
  finish<kRows, T>(args, sums, begin, end);
}

// Row by row, as dot_rows reads it.
template <class T>
void widen_rows(const ConstTensor& a, float* to) {
  const F32 d;
  const std::int64_t k = a.shape[1];
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t r = 0; r < a.shape[0]; ++r) {
    const T* from = a.as<T>() + r * k;
    for (std::int64_t i = 0; i < k; i += 2 * lanes, to += 2 * lanes) {
      HWY_ALIGN T piece[2 * hn::MaxLanes(d)] = {};
      std::copy_n(from + i, std::min(2 * lanes, k - i), piece);
      const Pair pair = load_pair(piece);
      hn::StoreU(pair.first, d, to);
      hn::StoreU(pair.second, d, to + lanes);
    }
  }
}

template <class T>
void multiply_item(const MatmulArgs& args, const float* a, std::int64_t item) {
  const std::int64_t begin = item * kColumns;
  const std::int64_t end = std::min(begin + kColumns, args.out_MN.shape[1]);
  switch (args.out_MN.shape[0]) {
    case 1:
      return multiply_columns<1, T>(args, a, begin, end);
    case 2:
      return multiply_columns<2, T>(args, a, begin, end);
    case 3:
      return multiply_columns<3, T>(args, a, begin, end);
    default:
      return multiply_columns<4, T>(args, a, begin, end);
  }
}

std::int64_t items_of(const MatmulArgs& args) {
  return (args.out_MN.shape[1] + kColumns - 1) / kColumns;
}

bool same_rows(const ConstTensor& a, const ConstTensor& b) {
  return a.data == b.data && a.shape == b.shape && a.dtype == b.dtype;
}

// Room for at least `count` numbers, the thread's own, that begins on a cache line: dot_rows reads
// it all the time.
float* room_for(std::size_t count) {
  thread_local hwy::AlignedFreeUniquePtr<float[]> room;
  thread_local std::size_t capacity = 0;
  if (capacity < count) {
    room = hwy::AllocateAligned<float>(count);
    FRUGAL_CHECK(room != nullptr, "no memory for ", count, " widened numbers");
    capacity = count;
  }
  return room.get();
}

void multiply_thin(std::span<const MatmulArgs> products) {
  const auto pair = static_cast<std::int64_t>(2 * hn::Lanes(F32()));
  std::vector<std::int64_t> begins;  // of each product's widened rows
  std::int64_t count = 0, items = 0, cost = 0;
  for (const MatmulArgs& args : products) {
    begins.push_back(count);
    count += args.a.shape[0] * ((args.a.shape[1] + pair - 1) / pair * pair);
    items += items_of(args);
    cost = std::max(cost, kColumns * args.a.shape[1]);
  }
  float* rows = room_for(static_cast<std::size_t>(count));
  for (std::size_t p = 0; p < products.size(); ++p) {
    if (p > 0 && same_rows(products[p].a, products[p - 1].a)) {
      begins[p] = begins[p - 1];
      continue;
    }
    visit_float(products[p].a.dtype,
                [&]<class T>() { widen_rows<T>(products[p].a, rows + begins[p]); });
  }
  parallel_for(items, cost, [=, &begins](std::int64_t item) {
    std::size_t p = 0;
    for (; item >= items_of(products[p]); ++p) item -= items_of(products[p]);
    visit_float(products[p].a.dtype,
                [&]<class T>() { multiply_item<T>(products[p], rows + begins[p], item); });
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(multiply_thin);

bool is_thin(const MatmulArgs& args) {
  constexpr std::int64_t kMostRows = 4;
  return args.out_MN.shape[0] <= kMostRows && args.transpose_b && !args.transpose_a &&
         args.a.numel() > 0;
}

void thin_matmul(std::span<const MatmulArgs> products) {
  HWY_DYNAMIC_DISPATCH(multiply_thin)(products);
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
