// Every file operation of a save fails, or is the last before the machine stops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "comm/world.h"
#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/allocations.h"
#include "tests/trainer/checkpoint/faulty_files.h"
#include "tests/trainer/checkpoint/saved_model.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const std::string& root) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// What a run would go on from; also checks that nothing half written can be seen.
std::string usable(const std::string& root) {
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("step-")) check_small_model(entry.path());
  }
  std::string found;
  run_ranks_as_threads(2, [&](std::unique_ptr<ProcessGroup> world) {
    const auto path =
        find_usable_checkpoint(root, *world, [](std::string_view line) { ADD_FAILURE() << line; });
    if (world->rank() == 0) found = path.value_or("");
  });
  return found.empty() ? found : fs::path(found).filename().string();
}

int operations_of_a_save(const std::string& root, int ranks, const std::set<std::string>& kinds) {
  fs::remove_all(root);
  FaultyFiles files;
  files.count_only(kinds);
  EXPECT_TRUE(save_on_threads(ranks, root, 2, Cut::kRuns, {&files})[0].committed);
  return files.operations();
}

// Stops a save at operation `number`; false when it ended before.
bool save_until(const std::string& root, int ranks, int number, Loss loss) {
  FaultyFiles files;
  files.stop_at(number);
  bool stopped = false;
  try {
    save_on_threads(ranks, root, 2, Cut::kRuns, {&files});
  } catch (const Stopped&) {
    stopped = true;
  } catch (const Error& error) {  // a peer of the one that stopped
    EXPECT_EQ(error.kind(), ErrorKind::kCommunication) << error.what();
    stopped = true;
  }
  files.lose(loss);
  return !stopped;
}

class Crash : public testing::TestWithParam<std::tuple<int, Loss>> {};

TEST_P(Crash, AtEveryOperationThePreviousOrTheNewCheckpointIsFound) {
  const auto [ranks, loss] = GetParam();
  const std::string root = fresh_root();
  const int operations = operations_of_a_save(root, ranks, {});
  EXPECT_GT(operations, 25);
  int with_new = 0;
  for (int number = 0; number <= operations; ++number) {
    fs::remove_all(root);
    ASSERT_TRUE(save_on_threads(1, root, 1, Cut::kWhole)[0].committed);
    const bool acknowledged = save_until(root, ranks, number, loss);
    const std::string found = usable(root);
    if (acknowledged) {
      ASSERT_EQ(found, "step-00000002") << number;
    } else {
      ASSERT_TRUE(found == "step-00000001" || found == "step-00000002") << number << " " << found;
    }
    with_new += found == "step-00000002" ? 1 : 0;
    // The next save goes on as if nothing had happened, and takes the rest away.
    ASSERT_TRUE(save_on_threads(ranks, root, 3, Cut::kRows)[0].committed) << number;
    ASSERT_EQ(usable(root), "step-00000003");
    for (const std::string& name : names_in(root)) ASSERT_TRUE(name.starts_with("step-")) << name;
  }
  EXPECT_LT(with_new, operations / 2);
}

TEST_P(Crash, TheFirstSaveOfARun) {
  const auto [ranks, loss] = GetParam();
  const std::string root = fresh_root();
  const int operations = operations_of_a_save(root, ranks, {});
  for (int number = 0; number < operations; number += 3) {
    fs::remove_all(root);
    save_until(root, ranks, number, loss);
    if (!fs::exists(root)) continue;
    const std::string found = usable(root);
    ASSERT_TRUE(found.empty() || found == "step-00000002") << number << " " << found;
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, Crash,
                         testing::Combine(testing::Values(1, 2),
                                          testing::Values(Loss::kNone, Loss::kUnsynced,
                                                          Loss::kTornData)));

// One rank's operation `number` fails; every rank hears the same and nothing stays behind.
void expect_clean_failure(const std::string& root, int failing_rank, FaultyFiles& faulty,
                          const std::string& reason) {
  FaultyFiles good;
  std::vector<FileOps*> files{&good, &good};
  files[static_cast<std::size_t>(failing_rank)] = &faulty;
  const auto outcomes = save_on_threads(2, root, 2, Cut::kRuns, files);
  for (const Outcome& outcome : outcomes) {
    ASSERT_FALSE(outcome.committed);
    EXPECT_EQ(outcome.error, outcomes[0].error);
    EXPECT_NE(outcome.error.find(concat("rank ", failing_rank, ": ")), std::string::npos);
    EXPECT_NE(outcome.error.find(reason), std::string::npos) << outcome.error;
  }
  EXPECT_EQ(names_in(root), std::vector<std::string>{"step-00000001"}) << outcomes[0].error;
  check_small_model(root + "/step-00000001");
}

// Operations of one kind and rank in a save without faults.
int count_of(const std::string& root, int rank, const std::set<std::string>& kinds) {
  FaultyFiles good, counted;
  counted.count_only(kinds);
  std::vector<FileOps*> files{&good, &good};
  files[static_cast<std::size_t>(rank)] = &counted;
  fs::remove_all(root);
  EXPECT_TRUE(save_on_threads(2, root, 2, Cut::kRuns, files)[0].committed);
  return counted.operations();
}

TEST(Failure, DiskFullAtEveryWriteOfEveryRank) {
  const std::string root = fresh_root();
  const std::set<std::string> kinds{"create", "write", "make"};
  int failures = 0;
  for (const int rank : {0, 1}) {
    const int operations = count_of(root, rank, kinds);
    fs::remove_all(root);
    ASSERT_TRUE(save_on_threads(1, root, 1, Cut::kWhole)[0].committed);
    for (int number = rank == 0 ? 1 : 0; number < operations; ++number, ++failures) {
      FaultyFiles faulty;
      faulty.count_only(kinds);
      faulty.fail_at(number, ENOSPC, true);
      expect_clean_failure(root, rank, faulty, "No space left on device; free disk space");
      if (HasFatalFailure()) FAIL() << "rank " << rank << ", operation " << number;
    }
  }
  EXPECT_GT(failures, 20);
}

TEST(Failure, AnyOtherOperationThatFailsOnce) {
  const std::string root = fresh_root();
  for (const char* kind : {"sync", "close", "rename"}) {
    for (const int rank : {0, 1}) {
      const int operations = count_of(root, rank, {kind});
      fs::remove_all(root);
      ASSERT_TRUE(save_on_threads(1, root, 1, Cut::kWhole)[0].committed);
      // The counted save also made and synced the root's parent.
      const int last = kind == std::string("sync") && rank == 0 ? operations - 1 : operations;
      for (int number = 0; number < last; ++number) {
        FaultyFiles faulty;
        faulty.count_only({kind});
        faulty.fail_at(number, EIO);
        expect_clean_failure(root, rank, faulty, "Input/output error");
        if (HasFatalFailure()) FAIL() << kind << ", rank " << rank << ", operation " << number;
      }
    }
  }
}

// A disk that fails for good at any operation: what can be seen is whole.
TEST(Failure, ADiskThatStaysBroken) {
  const std::string root = fresh_root();
  const int operations = operations_of_a_save(root, 2, {});
  for (int number = 0; number < operations; ++number) {
    fs::remove_all(root);
    ASSERT_TRUE(save_on_threads(1, root, 1, Cut::kWhole)[0].committed);
    FaultyFiles files;
    files.fail_at(number, EIO, true);
    const auto outcomes = save_on_threads(2, root, 2, Cut::kRuns, {&files});
    EXPECT_EQ(outcomes[0].error, outcomes[1].error);
    const std::string found = usable(root);
    ASSERT_TRUE(found == "step-00000001" || found == "step-00000002") << number << " " << found;
    if (outcomes[0].committed) {
      ASSERT_EQ(found, "step-00000002");
    }
  }
}

TEST(Failure, AFolderThatOtherNodesDoNotSee) {
  struct Elsewhere : FileOps {
    int create(const std::string&) override { return -ENOENT; }
  };
  const std::string root = fresh_root();
  FaultyFiles good;
  Elsewhere elsewhere;
  const auto outcomes = save_on_threads(2, root, 2, Cut::kRuns, {&good, &elsewhere});
  EXPECT_FALSE(outcomes[0].committed);
  EXPECT_NE(outcomes[0].error.find("the same for all nodes"), std::string::npos)
      << outcomes[0].error;
}

TEST(Failure, SavingAndReadingHoldNoSecondCopy) {
  const std::string root = fresh_root();
  const Pieces pieces = make_pieces({{"w", {64, 1 << 16}, DType::kF32}}, {});  // 16 MiB
  fill(pieces);
  const LargestAllocation largest;
  run_ranks_as_threads(1, [&](std::unique_ptr<ProcessGroup> world) {
    CheckpointWriter writer(root, info_of(1));
    writer.add(pieces.slices[0]);
    std::string error;
    ASSERT_TRUE(writer.commit(*world, error)) << error;
  });
  poison(pieces);
  const CheckpointReader reader(root + "/step-00000001");
  reader.verify();
  reader.read(pieces.slices[0]);
  EXPECT_LE(largest.bytes(), std::size_t{1} << 20);
  EXPECT_EQ(wrong_element(pieces), "");
}

}  // namespace
}  // namespace frugal::test
