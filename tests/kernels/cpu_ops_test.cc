// The CPU backend against the reference, case by case, and against itself with other thread counts.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "kernels/core/threads.h"
#include "tests/support/compare.h"
#include "tests/support/cpu_targets.h"
#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

TEST(CpuOps, MatchReferenceOnEveryInstructionSet) {
  const auto stream = make_stream({}, "test");
  for (const OpCase& op : op_cases()) {
    SCOPED_TRACE(op.name);
    const auto expected = op.run(reference_table(), *stream);
    for_each_cpu_target([&] {
      const auto actual = op.run(cpu::table, *stream);
      ASSERT_EQ(actual.size(), expected.size());
      for (std::size_t i = 0; i < actual.size(); ++i) {
        SCOPED_TRACE(concat("output ", i));
        // Float32 outputs of 16-bit inputs are sums in float32: the case's tolerance covers both.
        expect_near(actual[i], expected[i], op.tolerance);
      }
    });
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(CpuOps, SameBitsForAnyThreadCount) {
  const auto stream = make_stream({}, "test");
  const int before = compute_threads();
  for (const OpCase& op : op_cases()) {
    SCOPED_TRACE(op.name);
    set_compute_threads(1);
    const auto expected = op.run(cpu::table, *stream);
    for (const int threads : {2, 3, 4}) {
      set_compute_threads(threads);
      const auto actual = op.run(cpu::table, *stream);
      for (std::size_t i = 0; i < actual.size(); ++i) {
        ASSERT_EQ(actual[i].bits(), expected[i].bits()) << threads << " threads, output " << i;
      }
    }
  }
  set_compute_threads(before);
}

// The shapes of training: few rows and columns with a long sum is where a library would split the
// sum over threads.
TEST(CpuOps, MatmulSameBitsForAnyThreadCountAtTrainingShapes) {
  struct Size {
    std::int64_t m, n, k;
    bool ta, tb, accumulate;
  };
  const auto stream = make_stream({}, "test");
  const int before = compute_threads();
  for (const Size s :
       {Size{256, 768, 768, false, true, false}, Size{768, 256, 1024, true, false, true},
        Size{64, 64, 8192, true, false, true}, Size{1, 4096, 512, false, true, false},
        Size{128, 1000, 3072, false, false, false}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      const Owned a = random_tensor(s.ta ? Shape{s.k, s.m} : Shape{s.m, s.k}, dtype, 1);
      const Owned b = random_tensor(s.tb ? Shape{s.n, s.k} : Shape{s.k, s.n}, dtype, 2);
      std::vector<std::byte> expected;
      for (const int threads : {1, 2, 3, 4}) {
        set_compute_threads(threads);
        const Owned out = zeros({s.m, s.n}, DType::kF32);
        ops::matmul(*stream, {.out_MN = out,
                              .a = a,
                              .b = b,
                              .transpose_a = s.ta,
                              .transpose_b = s.tb,
                              .accumulate = s.accumulate});
        if (threads == 1) expected = out.bits();
        EXPECT_EQ(out.bits(), expected) << s.m << "x" << s.n << "x" << s.k << " " << name_of(dtype)
                                        << ", " << threads << " threads";
      }
    }
  }
  set_compute_threads(before);
}

TEST(CpuOps, ProductsOfAGroupHaveTheBitsOfEachAlone) {
  const auto stream = make_stream({}, "test");
  for (const std::int64_t m : {1, 3, 4, 20}) {
    const Owned a = random_tensor({m, 576}, DType::kBF16, 1);
    std::vector<Owned> weights, alone, together;
    std::vector<MatmulArgs> products;
    for (const std::int64_t n : {576, 192, 191}) {
      weights.push_back(random_tensor({n, 576}, DType::kBF16, static_cast<std::uint64_t>(n)));
      alone.push_back(zeros({m, n}, DType::kBF16));
      together.push_back(zeros({m, n}, DType::kBF16));
      MatmulArgs args{.out_MN = alone.back(), .a = a, .b = weights.back(), .transpose_b = true};
      ops::matmul(*stream, args);
      args.out_MN = together.back();
      products.push_back(args);
    }
    ops::matmul_group(*stream, products);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(alone[i].bits(), together[i].bits()) << m;
  }
}

// What a product ends in has the bits of the ops that it stands for: GELU always, an addend in
// float32, where rounding before the addition changes nothing.
TEST(CpuOps, MatmulEndsLikeTheOpsThatItStandsFor) {
  const auto stream = make_stream({}, "test");
  const Shape shape{70, 130};
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    SCOPED_TRACE(name_of(dtype));
    const Owned a = random_tensor({70, 300}, dtype, 1, 0.06F),
                b = random_tensor({130, 300}, dtype, 2), bias = random_tensor({130}, dtype, 3),
                other = random_tensor(shape, dtype, 4);
    const MatmulArgs plain{.a = a, .b = b, .transpose_b = true};
    const Owned product(shape, dtype), with_bias(shape, dtype), expected(shape, dtype);
    const Owned out(shape, dtype), input(shape, dtype);
    const auto multiply = [&](const Owned& to, const auto& change) {
      MatmulArgs args = plain;
      args.out_MN = to;
      change(args);
      ops::matmul(*stream, args);
    };
    multiply(product, [](MatmulArgs&) {});
    multiply(with_bias, [&](MatmulArgs& args) { args.bias_N = bias; });

    multiply(out, [&](MatmulArgs& args) {
      args.bias_N = bias;
      args.gelu_input_MN = input;
    });
    ops::gelu_forward(*stream, expected, with_bias);
    EXPECT_EQ(input.bits(), with_bias.bits());
    EXPECT_EQ(out.bits(), expected.bits());

    multiply(out, [&](MatmulArgs& args) { args.dgelu_input_MN = other; });
    ops::gelu_backward_input(*stream, expected, product, other);
    EXPECT_EQ(out.bits(), expected.bits());

    if (dtype != DType::kF32) continue;
    multiply(out, [&](MatmulArgs& args) {
      args.bias_N = bias;
      args.add_MN = other;
    });
    ops::add(*stream, expected, with_bias, other);
    EXPECT_EQ(out.bits(), expected.bits());
  }
}

// Ranks may be threads: products of one shape run at once, and must not share anything.
TEST(CpuOps, MatmulFromManyThreadsAtOnce) {
  const Owned a = random_tensor({64, 96}, DType::kF32, 1);
  const Owned b = random_tensor({96, 80}, DType::kF32, 2);
  const Owned expected({64, 80}, DType::kF32);
  ops::matmul(*make_stream({}, "test"), {.out_MN = expected, .a = a, .b = b});
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      set_compute_threads(1);
      const auto stream = make_stream({}, "test");
      for (int trial = 0; trial < 200; ++trial) {
        const Owned out({64, 80}, DType::kF32);
        ops::matmul(*stream, {.out_MN = out, .a = a, .b = b});
        if (out.bits() != expected.bits()) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace frugal::test
