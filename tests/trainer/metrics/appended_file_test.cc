#include "trainer/metrics/appended_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "kernels/core/check.h"

namespace frugal {
namespace {

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {(std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>()};
}

// Files of this process may not grow beyond `bytes`.
void limit_files(rlim_t bytes) {
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
}

TEST(AppendedFile, WhatTheSystemRefusesWaitsAndLosesNothing) {
  const std::string path = testing::TempDir() + "frugal_appended_file";
  std::filesystem::remove(path);
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  AppendedFile file(path);
  file.append("one ");
  limit_files(6);  // in the middle of what comes next
  file.append("two ");
  EXPECT_EQ(file.problem(), path + ": cannot write: File too large");
  file.append("three ");
  EXPECT_EQ(read(path), "one tw");
  limit_files(RLIM_INFINITY);
  file.append("four");
  EXPECT_EQ(file.problem(), "");
  EXPECT_EQ(read(path), "one two three four");
  std::signal(SIGXFSZ, before);
}

TEST(AppendedFile, AFullDiskIsAProblemAndNoError) {
  AppendedFile file("/dev/full");
  file.append("x");
  EXPECT_EQ(file.problem(), "/dev/full: cannot write: No space left on device");
}

TEST(AppendedFile, GoesOnWhereItEnded) {
  const std::string path = testing::TempDir() + "frugal_appended_file_again";
  std::filesystem::remove(path);
  AppendedFile(path).append("one ");
  AppendedFile(path).append("two");
  EXPECT_EQ(read(path), "one two");
  EXPECT_THROW(AppendedFile("/no/such/folder/file"), Error);
}

}  // namespace
}  // namespace frugal
