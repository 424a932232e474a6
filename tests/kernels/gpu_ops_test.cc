// The CUDA backend on a GPU against the reference, case by case, and against itself. For a machine
// that has one: ends with 77, "skipped", where there is none.
#include <gtest/gtest.h>

#include <iostream>

#include "tests/support/compare.h"
#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

TEST(GpuOps, MatchReferenceWithTheSameBitsTwice) {
  const auto host = make_stream({}, "test");
  owned_device() = {DeviceType::kCuda, 0};
  const auto stream = make_stream(owned_device(), "test");
  const auto run = [&](const OpCase& op) {
    auto out = op.run(*cu::table(), *stream);
    stream->synchronize();
    return out;
  };
  int failures = 0;
  for (const OpCase& op : op_cases()) {
    SCOPED_TRACE(op.name);
    const auto expected = op.run(reference_table(), *host);
    const auto actual = run(op), again = run(op);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      SCOPED_TRACE(concat("output ", i));
      expect_near(actual[i], expected[i], op.tolerance);
      EXPECT_EQ(actual[i].bits(), again[i].bits()) << "another run, other bits";
    }
    // A device that has failed fails all that follows; one that is wrong shows where else it is.
    if (testing::Test::HasFailure() && ++failures == 20) return;
  }
  std::cout << op_cases().size() << " cases\n";
}

}  // namespace
}  // namespace frugal::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (frugal::cu::table() == nullptr) {
    std::cerr << "skipped: " << frugal::cu::missing() << "\n";
    return 77;
  }
  return RUN_ALL_TESTS();
}
