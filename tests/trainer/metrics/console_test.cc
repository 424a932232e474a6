#include <gtest/gtest.h>

#include <limits>

#include "trainer/metrics/metrics.h"
#include "trainer/metrics/printable_text.h"

namespace frugal {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

StepMetrics example() {
  return {.step = 120,
          .loss = 3.281F,
          .grad_norm = 1.12F,
          .learning_rate = 3e-4F,
          .tokens = 7864320,
          .tokens_per_second = 41200,
          .step_time_s = 1.59,
          .mfu = 0.38,
          .peak_bytes = static_cast<std::size_t>(17.3 * kGib),
          .total_bytes = static_cast<std::size_t>(24 * kGib)};
}

TEST(Console, LineOfTheDesignPage) {
  EXPECT_EQ(console_line(example(), 2000),
            "step 120/2000 (6%) | loss 3.281 | grad 1.12 | lr 3.0e-4 | 41.2k tok/s | mfu 38% | "
            "mem 17.3/24 GiB | 1.59 s | eta 50m");
}

TEST(Console, UnitsFollowTheSize) {
  StepMetrics m = example();
  m.step = 2000;
  m.learning_rate = 0;
  m.tokens_per_second = 999.4;
  m.step_time_s = 0.0123;
  m.mfu = 0.0312;
  EXPECT_EQ(console_line(m, 2000),
            "step 2000/2000 (100%) | loss 3.281 | grad 1.12 | lr 0 | 999 tok/s | mfu 3.1% | "
            "mem 17.3/24 GiB | 12.3 ms | eta 0s");
  m.step = 1;
  m.learning_rate = 1.5F;
  m.tokens_per_second = 1234567;
  m.step_time_s = 123.4;
  m.grad_norm = 0.00123F;
  EXPECT_EQ(console_line(m, 1001),
            "step 1/1001 (0%) | loss 3.281 | grad 0.00123 | lr 1.5e0 | 1.23M tok/s | mfu 3.1% | "
            "mem 17.3/24 GiB | 123 s | eta 1d10h");
  m.step_time_s = 8.0;
  EXPECT_NE(console_line(m, 1001).find("| 8.00 s | eta 2h13m"), std::string::npos);
}

TEST(Console, RoundingNeverShowsAThousandOfAUnit) {
  StepMetrics m = example();
  m.tokens_per_second = 999.6;
  EXPECT_NE(console_line(m, 2000).find("| 1.0k tok/s |"), std::string::npos);
  m.tokens_per_second = 999960;
  EXPECT_NE(console_line(m, 2000).find("| 1.00M tok/s |"), std::string::npos);
  m.step = 0;
  m.step_time_s = 59.7 / 2000;  // a minute is never "60s"
  EXPECT_NE(console_line(m, 2000).find("eta 1m"), std::string::npos);
}

TEST(Console, ASkippedUpdateIsNamedAndTheNormShown) {
  StepMetrics m = example();
  m.skipped = true;
  m.grad_norm = std::numeric_limits<float>::quiet_NaN();
  const std::string line = console_line(m, 2000);
  EXPECT_NE(line.find("| grad nan |"), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with("| eta 50m | update skipped: gradient not finite")) << line;
}

TEST(PrintableText, KeepsTextAndReplacesWhatATerminalObeys) {
  EXPECT_EQ(printable_text("In the\tbeginning\nété 日本 😀"), "In the\tbeginning\nété 日本 😀");
  EXPECT_EQ(printable_text("\x1b[2J\x7f\r"), "\uFFFD[2J\uFFFD\uFFFD");
  EXPECT_EQ(printable_text("\xc2\x9b"), "\uFFFD\uFFFD");            // C1 control
  EXPECT_EQ(printable_text("\xe6\x97"), "\uFFFD\uFFFD");            // cut short
  EXPECT_EQ(printable_text("\xc0\xaf"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(printable_text("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // surrogate
  EXPECT_EQ(printable_text("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(printable_text("\xe6x"), "\uFFFDx");
}

}  // namespace
}  // namespace frugal
