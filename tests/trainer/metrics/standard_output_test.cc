#include "trainer/metrics/standard_output.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace frugal {
namespace {

// A pipe holds 64 KiB: without a reader, who writes more himself would wait here for ever.
TEST(StandardOutput, DoesNotWaitForItsReaderAndKeepsTheOrder) {
  int pipe_ends[2];
  ASSERT_EQ(0, pipe(pipe_ends));
  std::fflush(stdout);
  const int before = dup(STDOUT_FILENO);
  dup2(pipe_ends[1], STDOUT_FILENO);
  close(pipe_ends[1]);
  std::string expected, read_back;
  {
    StandardOutput output;
    for (int i = 0; i < 20000; ++i) {
      const std::string line = "line " + std::to_string(i);
      output.say(line);
      expected += line + "\n";
    }
    ASSERT_GT(expected.size(), 200000U);
    char buffer[4096];
    while (read_back.size() < expected.size()) {
      const auto count = read(pipe_ends[0], buffer, sizeof buffer);
      if (count <= 0) break;
      read_back.append(buffer, static_cast<std::size_t>(count));
    }
  }
  dup2(before, STDOUT_FILENO);
  close(before);
  close(pipe_ends[0]);
  EXPECT_TRUE(read_back == expected) << read_back.size() << " of " << expected.size() << " bytes";
}

}  // namespace
}  // namespace frugal
