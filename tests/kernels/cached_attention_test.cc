// What attention over cached keys promises beside its values, which the op cases compare.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/core/threads.h"
#include "kernels/ops/cache.h"
#include "tests/support/cpu_targets.h"
#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

class CachedAttention : public testing::TestWithParam<DType> {
 protected:
  static constexpr std::int64_t kTokens = 3, kRows = 300, kHeads = 10, kKvHeads = 2, kWidth = 20;

  CachedAttention() {
    for (std::int64_t t = 0; t < kTokens; ++t) {
      first_.get().as<std::int32_t>()[t] = static_cast<std::int32_t>(3 * t);
      last_.get().as<std::int32_t>()[t] = static_cast<std::int32_t>(270 + 8 * t);
    }
  }

  // Tokens [begin, end) in one call.
  void attend(std::int64_t begin, std::int64_t end, const Owned& out) {
    ops::attention_cached_forward(*stream_, {.out_TNH = out.get().slice(begin, end),
                                             .q_TNH = ConstTensor(q_).slice(begin, end),
                                             .k_RMH = k_,
                                             .v_RMH = v_,
                                             .first_row_T = ConstTensor(first_).slice(begin, end),
                                             .last_row_T = ConstTensor(last_).slice(begin, end),
                                             .scale = 0.3F});
  }

  std::unique_ptr<Stream> stream_ = make_stream({}, "test");
  Owned q_ = random_tensor({kTokens, kHeads, kWidth}, GetParam(), 1);
  Owned k_ = random_tensor({kRows, kKvHeads, kWidth}, GetParam(), 2);
  Owned v_ = random_tensor({kRows, kKvHeads, kWidth}, GetParam(), 3);
  Owned first_{{kTokens}, DType::kI32}, last_{{kTokens}, DType::kI32};
};

// A broken key or value reaches the tokens that see it, through the heads that read it, and no
// other.
TEST_P(CachedAttention, NanStaysNan) {
  constexpr std::int64_t kRow = 280;  // token 2 sees it, tokens 0 and 1 do not
  for (Owned* broken : {&k_, &v_}) {
    const Owned whole = copy_of(*broken);
    const std::int64_t at = (kRow * kKvHeads + 1) * kWidth + 7;
    broken->set(at, std::nanf(""));
    for_each_cpu_target([&] {
      const Owned out({kTokens, kHeads, kWidth}, GetParam());
      attend(0, kTokens, out);
      for (std::int64_t i = 0; i < kTokens * kHeads * kWidth; ++i) {
        const std::int64_t token = i / kWidth / kHeads, head = i / kWidth % kHeads;
        const bool reached = token == 2 && head >= kHeads / kKvHeads;
        EXPECT_EQ(std::isnan(out.at(i)), reached && (broken == &k_ || i % kWidth == 7)) << i;
      }
    });
    broken->set(at, whole.at(at));
  }
}

// Keys whose scores are minus infinity have no weight, a whole span of them neither.
TEST_P(CachedAttention, ScoresOfMinusInfinityHaveNoWeight) {
  constexpr std::int64_t kRow = 128;  // token 0 sees rows from 0 on, in spans of as many
  for (std::int64_t i = 0; i < kTokens * kHeads; ++i) q_.set(i * kWidth, 1.0F);
  for (std::int64_t i = 0; i < kRow * kKvHeads; ++i) {
    k_.set(i * kWidth, -std::numeric_limits<float>::infinity());
  }
  const Owned out({kTokens, kHeads, kWidth}, GetParam()),
      expected({kTokens, kHeads, kWidth}, GetParam());
  for_each_cpu_target([&] {
    attend(0, 1, out);
    first_.get().as<std::int32_t>()[0] = kRow;
    attend(0, 1, expected);
    first_.get().as<std::int32_t>()[0] = 0;
    EXPECT_EQ(out.bits(), expected.bits());
  });
  EXPECT_TRUE(std::isfinite(out.at(0)));
}

TEST_P(CachedAttention, BitsDoNotDependOnTheOtherTokensOfTheCall) {
  for_each_cpu_target([&] {
    const Owned together({kTokens, kHeads, kWidth}, GetParam()),
        alone({kTokens, kHeads, kWidth}, GetParam());
    attend(0, kTokens, together);
    for (std::int64_t t = 0; t < kTokens; ++t) attend(t, t + 1, alone);
    EXPECT_EQ(together.bits(), alone.bits());
  });
}

TEST_P(CachedAttention, BitsDoNotDependOnTheNumberOfThreads) {
  const int before = compute_threads();
  const Owned one({kTokens, kHeads, kWidth}, GetParam()),
      many({kTokens, kHeads, kWidth}, GetParam());
  set_compute_threads(1);
  attend(0, kTokens, one);
  for (const int threads : {2, 3, 4}) {
    set_compute_threads(threads);
    attend(0, kTokens, many);
    EXPECT_EQ(one.bits(), many.bits()) << threads << " threads";
  }
  set_compute_threads(before);
}

INSTANTIATE_TEST_SUITE_P(Types, CachedAttention,
                         testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace frugal::test
