// The CUDA backend's kernels, emulated on the CPU, against the reference.
#include <gtest/gtest.h>

#include "kernels/cuda/emulation/emulation.h"
#include "tests/support/compare.h"
#include "tests/support/emulated_cuda.h"
#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

// Each order of threads would show another fault of a kernel that lacks a barrier; and sums may not
// depend on it.
TEST(CudaOps, MatchReferenceWithTheSameBitsInAnyOrderOfThreads) {
  const auto stream = make_stream({}, "test");
  for (const OpCase& op : op_cases()) {
    SCOPED_TRACE(op.name);
    const auto expected = op.run(reference_table(), *stream);
    std::vector<Owned> first;
    for (const emulation::Order order : kTriedOrders) {
      emulation::set_order(order);
      auto actual = op.run(emulated_cuda_table(), *stream);
      ASSERT_EQ(actual.size(), expected.size());
      if (first.empty()) {
        for (std::size_t i = 0; i < actual.size(); ++i) {
          SCOPED_TRACE(concat("output ", i));
          expect_near(actual[i], expected[i], op.tolerance);
        }
        first = std::move(actual);
      } else {
        for (std::size_t i = 0; i < actual.size(); ++i) {
          ASSERT_EQ(actual[i].bits(), first[i].bits()) << "output " << i;
        }
      }
    }
    if (testing::Test::HasFatalFailure()) return;
  }
}

// Sums per id go in the order of tokens: that leaves no choice of bits.
TEST(CudaOps, EmbeddingHasTheBitsOfTheCpu) {
  const auto stream = make_stream({}, "test");
  int cases = 0;
  for (const OpCase& op : op_cases()) {
    if (op.name.find("embedding") != 0) continue;
    ++cases;
    SCOPED_TRACE(op.name);
    const auto expected = op.run(cpu::table, *stream);
    const auto actual = op.run(emulated_cuda_table(), *stream);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      ASSERT_EQ(actual[i].bits(), expected[i].bits()) << "output " << i;
    }
  }
  EXPECT_GT(cases, 0);
}

}  // namespace
}  // namespace frugal::test
