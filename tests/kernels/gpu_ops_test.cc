// The CUDA backend on a GPU against the reference, case by case, and against itself. For a machine
// that has one: ends with 77, "skipped", where there is none. With an argument only the cases whose
// names have it in them.
#include <gtest/gtest.h>

#include <iostream>

#include "tests/support/compare.h"
#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

std::string wanted;

TEST(GpuOps, MatchReferenceWithTheSameBitsTwice) {
  const auto host = make_stream({}, "test");
  owned_device() = {DeviceType::kCuda, 0};
  const auto stream = make_stream(owned_device(), "test");
  const auto run = [&](const OpCase& op) {
    auto out = op.run(*cu::table(), *stream);
    stream->synchronize();
    return out;
  };
  int cases = 0, failures = 0;
  for (const OpCase& op : op_cases()) {
    if (op.name.find(wanted) == std::string::npos) continue;
    ++cases;
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
  EXPECT_GT(cases, 0);
  std::cout << cases << " cases\n";
}

}  // namespace

void set_wanted(const std::string& part) {
  wanted = part;
}

}  // namespace frugal::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (frugal::cu::table() == nullptr) {
    std::cerr << "skipped: " << frugal::cu::missing() << "\n";
    return 77;
  }
  if (argc > 1) frugal::test::set_wanted(argv[1]);
  return RUN_ALL_TESTS();
}
