#include <gtest/gtest.h>
#include <sys/resource.h>

#include <bit>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <vector>

#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "trainer/metrics/metrics.h"

namespace frugal {
namespace {

namespace fs = std::filesystem;

class MetricsWriterTest : public testing::Test {
 protected:
  MetricsWriterTest() { fs::remove_all(run_dir_); }

  MetricsWriter open(std::int64_t resume_step, int console_interval = 1) {
    return MetricsWriter({.run_dir = run_dir_,
                          .total_steps = 10,
                          .resume_step = resume_step,
                          .console_interval = console_interval});
  }
  std::string read(const std::string& name) const {
    std::ifstream in(run_dir_ + "/" + name, std::ios::binary);
    return {(std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>()};
  }
  void append(const std::string& name, std::string_view text) const {
    std::ofstream(run_dir_ + "/" + name, std::ios::binary | std::ios::app) << text;
  }
  std::vector<nlohmann::json> lines() const {
    std::ifstream in(run_dir_ + "/metrics.jsonl");
    std::vector<nlohmann::json> all;
    for (std::string line; std::getline(in, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }

  const std::string run_dir_ = testing::TempDir() + "frugal_metrics_" +
                               testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(MetricsWriterTest, JsonHasTheDocumentedKeysAndRoundTripsFloats) {
  auto writer = open(0);
  std::vector<float> losses = {0.1F, 1.0F / 3, 3.4028235e38F, 1e-45F, -0.0F, 16777216.0F};
  for (std::size_t i = 0; i < losses.size(); ++i) {
    writer.step({.step = static_cast<std::int64_t>(i) + 1, .loss = losses[i], .tokens = 1LL << 53});
  }
  writer.eval({.step = 6, .loss = 2.5F, .bits_per_byte = 0.1});
  const auto all = lines();
  ASSERT_EQ(all.size(), losses.size() + 1);
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const float back = all[i]["loss"].get<float>();
    EXPECT_EQ(std::bit_cast<std::uint32_t>(back), std::bit_cast<std::uint32_t>(losses[i]));
  }
  const auto text = read("metrics.jsonl");
  EXPECT_TRUE(text.starts_with(
      R"({"step": 1, "loss": 0.1, "grad_norm": 0.0, "learning_rate": 0.0, "tokens": 9007199254740992, )"
      R"("tokens_per_second": 0.0, "step_time_s": 0.0, "mfu": 0.0, "peak_bytes": 0, "skipped": false})"
      "\n"))
      << text;
  EXPECT_TRUE(text.ends_with(R"({"step": 6, "validation_loss": 2.5, "bits_per_byte": 0.1})"
                             "\n"));
}

TEST_F(MetricsWriterTest, NonFiniteNumbersAreNamedInStrings) {
  open(0).step({.step = 1,
                .loss = -std::numeric_limits<float>::infinity(),
                .grad_norm = std::numeric_limits<float>::quiet_NaN(),
                .mfu = std::numeric_limits<double>::infinity(),
                .skipped = true});
  const auto line = lines().at(0);
  EXPECT_EQ(line["loss"], "-inf");
  EXPECT_EQ(line["grad_norm"], "nan");
  EXPECT_EQ(line["mfu"], "inf");
  EXPECT_EQ(line["skipped"], true);
  EXPECT_FALSE(line.contains("loss_scale"));
}

TEST_F(MetricsWriterTest, TheLossScaleIsThereWhereTheRunHasOne) {
  open(0).step({.step = 1, .loss_scale = 65536.0F});
  EXPECT_EQ(lines().at(0)["loss_scale"], 65536.0);
}

TEST_F(MetricsWriterTest, ResumeCutsOffLostWorkAndTornLines) {
  {
    auto writer = open(0);
    for (int step = 1; step <= 5; ++step) writer.step({.step = step, .loss = 1.0F});
    writer.eval({.step = 3, .loss = 2.0F});
  }
  const auto before = read("metrics.jsonl");
  append("metrics.jsonl", R"({"step": 2, "loss": 0.)");
  {
    auto writer = open(3);
    writer.step({.step = 4, .loss = 7.0F});
  }
  const auto all = lines();
  ASSERT_EQ(all.size(), 5U);
  EXPECT_EQ(all[2]["step"], 3);
  EXPECT_EQ(all[3]["validation_loss"], 2.0);
  EXPECT_EQ(all[4]["loss"], 7.0);
  const auto kept = before.substr(0, before.find(R"({"step": 4)"));
  EXPECT_TRUE(read("metrics.jsonl").starts_with(kept)) << "kept lines keep their bytes";
  EXPECT_NE(read("log.txt").find("lines after step 3 or torn, cut off: 3"), std::string::npos);
  EXPECT_FALSE(fs::exists(run_dir_ + "/metrics.jsonl.tmp"));
}

TEST_F(MetricsWriterTest, ResumeDropsBytesThatAreNoLinesOfOurs) {
  open(0).step({.step = 1});
  append("metrics.jsonl", std::string("\0\0\0\n", 4) + "[1]\n{\"loss\": 1}\n\n{\"step\": \"1\"}\n");
  open(1).step({.step = 2});
  const auto all = lines();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1]["step"], 2);
}

TEST_F(MetricsWriterTest, AFreshRunStartsAnEmptyFile) {
  open(0).step({.step = 1});
  open(0).step({.step = 1, .loss = 9.0F});
  ASSERT_EQ(lines().size(), 1U);
  EXPECT_EQ(lines()[0]["loss"], 9.0);
}

TEST_F(MetricsWriterTest, ConsoleHasTheFirstTheLastAndEveryIntervalStep) {
  testing::internal::CaptureStdout();
  {
    auto writer = open(2, 4);
    for (int step = 3; step <= 10; ++step) writer.step({.step = step, .skipped = step == 7});
  }
  const std::string console = testing::internal::GetCapturedStdout();
  EXPECT_EQ(console, read("log.txt"));
  std::vector<std::string> steps;
  std::istringstream in(console);
  for (std::string line; std::getline(in, line);)
    steps.push_back(line.substr(0, line.find(' ', 5)));
  EXPECT_EQ(steps, (std::vector<std::string>{"step 3/10", "step 4/10", "step 7/10", "step 8/10",
                                             "step 10/10"}));
  EXPECT_EQ(console.find('\x1b'), std::string::npos);
  EXPECT_EQ(console.find('\r'), std::string::npos);
}

TEST_F(MetricsWriterTest, SamplesOfAStepShareAFileThatAResumeBeginsAnew) {
  for (int run = 0; run < 2; ++run) {
    auto writer = open(0);
    writer.sample(5, "In the", " beginning");
    writer.sample(5, "And", " God\xff");
  }
  EXPECT_EQ(read("samples/step-00000005.txt"),
            "--- prompt: In the\nIn the beginning\n\n--- prompt: And\nAnd God\xff\n\n");
  EXPECT_NE(read("log.txt").find("step 5 sample | And God\uFFFD\n"), std::string::npos);
}

TEST_F(MetricsWriterTest, TensorBoardFilesAreOptional) {
  open(0);
  EXPECT_FALSE(fs::is_empty(run_dir_ + "/tb"));
  fs::remove_all(run_dir_);
  MetricsWriter({.run_dir = run_dir_, .tensorboard = false}).step({.step = 1});
  EXPECT_FALSE(fs::exists(run_dir_ + "/tb"));
}

// Files of this process end at `bytes` while it lives: a disk that is full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST_F(MetricsWriterTest, AFullDiskIsSaidOnceAndCostsNothing) {
  testing::internal::CaptureStdout();
  {
    auto writer = open(0, 1000);
    for (int step = 1; step <= 20; ++step) writer.step({.step = step});
    const auto whole = fs::file_size(run_dir_ + "/metrics.jsonl");
    {
      const FileSizeLimit limit(whole + 50);
      for (int step = 21; step <= 23; ++step) writer.step({.step = step});
    }
    writer.step({.step = 24});
  }
  const std::string console = testing::internal::GetCapturedStdout();
  EXPECT_EQ(lines().size(), 24U);
  EXPECT_EQ(lines().back()["step"], 24);
  const auto first = console.find("metrics.jsonl: cannot write: File too large");
  EXPECT_NE(first, std::string::npos) << console;
  EXPECT_EQ(console.find("metrics.jsonl", first + 1), std::string::npos) << console;
}

TEST_F(MetricsWriterTest, AnUnusableFolderIsAUserError) {
  std::ofstream(run_dir_) << "a file";
  try {
    open(0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_NE(std::string(error.what()).find(run_dir_), std::string::npos);
  }
}

TEST_F(MetricsWriterTest, RunInfoIsReplacedWhole) {
  fs::create_directories(run_dir_);
  write_run_info(run_dir_, {.state = "running", .facts = {{"hosts", "a b"}}});
  auto info = nlohmann::json::parse(read("run.json"));
  EXPECT_EQ(info["state"], "running");
  EXPECT_EQ(info["hosts"], "a b");
  EXPECT_TRUE(info["exit_code"].is_null());
  write_run_info(run_dir_, {.state = "finished", .exit_code = 0});
  info = nlohmann::json::parse(read("run.json"));
  EXPECT_EQ(info["exit_code"], 0);
  EXPECT_FALSE(info.contains("hosts"));
  EXPECT_FALSE(fs::exists(run_dir_ + "/run.json.tmp"));
  EXPECT_THROW(write_run_info(run_dir_, {.state = "x", .facts = {{"state", "y"}}}), Error);
  EXPECT_THROW(write_run_info(run_dir_ + "/absent", {.state = "x"}), Error);
}

}  // namespace
}  // namespace frugal
