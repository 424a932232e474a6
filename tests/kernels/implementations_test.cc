// The choice between implementations of one op.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <string>

#include "kernels/ops/implementations.h"
#include "kernels/ops/product.h"

namespace frugal {
namespace {

struct Number {
  int value;
};
std::string ran;

constexpr std::array<Implementation<Number>, 2> kList{{
    {"even numbers",
     [](Stream&, const Number& n) { return n.value % 2 == 0 ? nullptr : "an odd number"; },
     [](Stream&, const Number&) { ran = "even"; }},
    {"small numbers",
     [](Stream&, const Number& n) { return n.value < 10 ? nullptr : "a large number"; },
     [](Stream&, const Number&) { ran = "small"; }},
}};

std::string run(int value) {
  const auto stream = make_stream({}, "test");
  ran.clear();
  run_first<Number>("count", kList, *stream, Number{value},
                    [](const Number& n) { return std::to_string(n.value); });
  return ran;
}

TEST(Implementations, TheFirstThatAcceptsRuns) {
  EXPECT_EQ(run(4), "even");
  EXPECT_EQ(run(5), "small");
  EXPECT_EQ(run(12), "even");
  try {
    run(13);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("count 13: no implementation takes it"),
              std::string::npos)
        << error.what();
  }
}

// In a process of its own: whether to say so is read once.
TEST(Implementations, AreSaidWithWhyOthersDeclinedOnceForEachProblem) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("FRUGAL_VERBOSE", "data,ops", 1);
        run(5);
        run(5);
        run(4);
        std::exit(0);
      },
      testing::ExitedWithCode(0),
      "^count 5: small numbers; not even numbers: an odd number\ncount 4: even numbers\n$");
}

TEST(Implementations, TopicsAreWholeWords) {
  setenv("FRUGAL_VERBOSE", "data,ops", 1);
  EXPECT_TRUE(verbose("ops"));
  EXPECT_TRUE(verbose("data"));
  EXPECT_FALSE(verbose("op"));
  unsetenv("FRUGAL_VERBOSE");
  EXPECT_FALSE(verbose("ops"));
}

TEST(Product, IsKnownByWhatItsAlgorithmDependsOn) {
  alignas(16) std::array<std::byte, 64> memory{};
  const auto at = [&](std::size_t offset, Shape shape) {
    return Tensor{memory.data() + offset, shape, DType::kBF16, {}};
  };
  MatmulArgs args{.out_MN = at(0, {2, 3}), .a = at(16, {4, 2}), .b = at(32, {3, 4})};
  args.transpose_a = args.transpose_b = true;
  EXPECT_EQ(text_of(product_of(args)), "bf16 -> bf16, 2 x 3 x 4, a transposed, b transposed");
  args.b.data += 4;
  args.accumulate = true;
  args.tf32 = true;  // of float32 alone
  EXPECT_EQ(text_of(product_of(args)),
            "bf16 -> bf16, 2 x 3 x 4, a transposed, b transposed, accumulated, aligned to 4");
  args.accumulate = false;
  args.b.data -= 4;
  args.dgelu_input_MN = at(0, {2, 3});
  EXPECT_EQ(text_of(product_of(args)),
            "bf16 -> bf16, 2 x 3 x 4, a transposed, b transposed, times GELU's derivative");
}

// A library may lack the product with GELU: then the one without is chosen for too.
TEST(Product, IsCollectedWithAndWithoutGelu) {
  const auto half = [](Shape shape) { return Tensor{nullptr, shape, DType::kBF16, {}}; };
  MatmulArgs args{.out_MN = half({2, 3}),
                  .a = half({2, 4}),
                  .b = half({4, 3}),
                  .bias_N = half({3}),
                  .gelu_input_MN = half({2, 3})};
  std::set<Product> products;
  {
    const ProductCollector collector(products);
    const auto plan = make_planning_stream({});
    ops::matmul(*plan, args);
    args.gelu_input_MN = {};
    args.add_MN = half({2, 3});
    ops::matmul(*plan, args);
  }
  std::set<std::string> texts;
  for (const Product& product : products) texts.insert(text_of(product));
  EXPECT_EQ(texts, (std::set<std::string>{"bf16 -> bf16, 2 x 3 x 4, bias",
                                          "bf16 -> bf16, 2 x 3 x 4, bias, GELU",
                                          "bf16 -> bf16, 2 x 3 x 4, bias, with addend"}));
}

}  // namespace
}  // namespace frugal
