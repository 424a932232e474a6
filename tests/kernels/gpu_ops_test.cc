// The CUDA backend on a GPU against the reference, case by case, and against itself. For a machine
// that has one: ends with 77, "skipped", where there is none. With an argument only the cases whose
// names have it in them.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "kernels/cuda/attention.h"
#include "tests/support/compare.h"
#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

std::string wanted;

// The first implementation of attention from number `first` of its list on that takes the problem:
// all run on a card that has the fastest.
std::size_t first = 0;
template <class Args>
void run_from(std::span<const Implementation<Args>> list, Stream& stream, const Args& args) {
  run_first<Args>("attention", list.subspan(std::min(first, list.size() - 1)), stream, args,
                  [](const Args&) { return "of this case"; });
}
void forward_from(Stream& stream, const AttentionForwardArgs& args) {
  run_from(cu::attention_forward_implementations(), stream, args);
}
void backward_from(Stream& stream, const AttentionBackwardArgs& args) {
  run_from(cu::attention_backward_implementations(), stream, args);
}

TEST(GpuOps, MatchReferenceWithTheSameBitsTwice) {
  const auto host = make_stream({}, "test");
  owned_device() = {DeviceType::kCuda, 0};
  const auto stream = make_stream(owned_device(), "test");
  OpTable table = *cu::table();
  table.attention_forward = &forward_from;
  table.attention_backward_input = &backward_from;
  const auto run = [&](const OpCase& op) {
    auto out = op.run(table, *stream);
    stream->synchronize();
    return out;
  };
  int cases = 0, failures = 0;
  for (const OpCase& op : op_cases()) {
    if (op.name.find(wanted) == std::string::npos) continue;
    ++cases;
    SCOPED_TRACE(op.name);
    const auto expected = op.run(reference_table(), *host);
    const std::size_t implementations =
        op.name.find("attention") == 0 ? cu::attention_forward_implementations().size() : 1;
    for (first = 0; first < implementations; ++first) {
      SCOPED_TRACE(concat("from implementation ", first));
      const auto actual = run(op), again = run(op);
      ASSERT_EQ(actual.size(), expected.size());
      for (std::size_t i = 0; i < actual.size(); ++i) {
        SCOPED_TRACE(concat("output ", i));
        expect_near(actual[i], expected[i], op.tolerance);
        EXPECT_EQ(actual[i].bits(), again[i].bits()) << "another run, other bits";
      }
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
