// Which checkpoints are seen, chosen and removed.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "comm/world.h"
#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/faulty_files.h"
#include "tests/trainer/checkpoint/saved_model.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

class Catalog : public testing::Test {
 protected:
  void save_steps(const std::vector<int>& steps) {
    for (const int step : steps) {
      ASSERT_TRUE(save_on_threads(2, root_, step, Cut::kRows)[0].committed);
    }
  }
  void damage(const std::string& name, const std::string& file) {
    std::string bytes = read_bytes(root_ + "/" + name + "/" + file);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    write_bytes(root_ + "/" + name + "/" + file, bytes);
  }
  Names listed() const {
    Names names;
    for (const std::string& path : list_checkpoints(root_)) {
      names.push_back(fs::path(path).filename());
    }
    return names;
  }
  Names all_names() const {
    Names names;
    for (const auto& entry : fs::directory_iterator(root_)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  // The choice, which must be the same on every rank; lines go to lines_.
  std::string choice(int ranks) {
    lines_.clear();
    std::vector<std::optional<std::string>> found(static_cast<std::size_t>(ranks));
    run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
      found[static_cast<std::size_t>(world->rank())] = find_usable_checkpoint(
          root_, *world, [&](std::string_view line) { lines_.emplace_back(line); });
    });
    for (const auto& path : found) EXPECT_EQ(path, found[0]);
    return found[0] ? fs::path(*found[0]).filename().string() : "none";
  }
  void expect_no_choice(int ranks) {
    try {
      ADD_FAILURE() << choice(ranks);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
      EXPECT_NE(std::string(error.what()).find("checkpoint.resume=never"), std::string::npos);
    }
  }

  const std::string root_ = fresh_root();
  Names lines_;
};

TEST_F(Catalog, ListIsNewestFirstAndHoldsOnlyCommittedOnes) {
  EXPECT_EQ(listed(), Names{});
  save_steps({5, 100, 123456789});
  fs::create_directory(root_ + "/step-00000999");  // no COMMIT
  fs::create_directory(root_ + "/writing-step-00000777-0123456789abcdef");
  fs::copy(root_ + "/step-00000005", root_ + "/step-00000006");  // another step's COMMIT
  fs::copy(root_ + "/step-00000005", root_ + "/step-5");
  fs::copy(root_ + "/step-00000005", root_ + "/copy-of-step-00000005");
  EXPECT_EQ(listed(), (Names{"step-123456789", "step-00000100", "step-00000005"}));
  damage("step-00000100", "COMMIT");
  EXPECT_EQ(listed(), (Names{"step-123456789", "step-00000005"}));
}

TEST_F(Catalog, NothingAtAllIsAFreshStart) {
  EXPECT_EQ(choice(2), "none");
  fs::create_directories(root_ + "/writing-step-00000001-0123456789abcdef");
  EXPECT_EQ(choice(1), "none");
}

TEST_F(Catalog, TheNewestUsableOneIsChosen) {
  for (const int ranks : {1, 2, 4}) {
    for (const char* file :
         {"COMMIT", "MANIFEST.pb", "part-00001.pb", "data-00001-000.safetensors"}) {
      fs::remove_all(root_);
      save_steps({1, 2, 3});
      EXPECT_EQ(choice(ranks), "step-00000003");
      EXPECT_EQ(lines_, Names{});
      damage("step-00000003", file);
      EXPECT_EQ(choice(ranks), "step-00000002");
      ASSERT_EQ(lines_.size(), 1U);
      EXPECT_NE(lines_[0].find("step-00000003"), std::string::npos) << lines_[0];
      EXPECT_NE(lines_[0].find(file), std::string::npos) << lines_[0];
      EXPECT_EQ(all_names(), (Names{"damaged-step-00000003", "step-00000001", "step-00000002"}));
      EXPECT_EQ(choice(ranks), "step-00000002");
      EXPECT_EQ(lines_, Names{});
    }
  }
}

TEST_F(Catalog, SomeButNoneUsableIsNeverAFreshStart) {
  save_steps({1, 2});
  damage("step-00000001", "COMMIT");
  damage("step-00000002", "part-00000.pb");
  const Names before = all_names();
  for (const int ranks : {1, 3}) {
    expect_no_choice(ranks);
    EXPECT_EQ(lines_.size(), 2U);
    EXPECT_EQ(all_names(), before);
  }
  fs::rename(root_ + "/step-00000001", root_ + "/damaged-step-00000001");
  fs::remove_all(root_ + "/step-00000002");
  expect_no_choice(2);
}

TEST_F(Catalog, PuttingAsideTwice) {
  save_steps({1, 2});
  damage("step-00000002", "COMMIT");
  EXPECT_EQ(choice(1), "step-00000001");
  save_steps({2});
  damage("step-00000002", "COMMIT");
  EXPECT_EQ(choice(1), "step-00000001");
  EXPECT_EQ(all_names(),
            (Names{"damaged-step-00000002", "damaged-step-00000002-2", "step-00000001"}));
}

TEST_F(Catalog, AStepThatIsReachedAgainGetsASecondTake) {
  save_steps({1, 2, 2});
  EXPECT_EQ(listed(), (Names{"step-00000002.2", "step-00000002", "step-00000001"}));
  EXPECT_EQ(choice(2), "step-00000002.2");
  save_steps({2});
  EXPECT_EQ(choice(2), "step-00000002.3");
  EXPECT_EQ(remove_old_checkpoints(root_, 2, 0), "");
  EXPECT_EQ(listed(), (Names{"step-00000002.3", "step-00000001"}));
}

// A run that goes back to step 2 and forward again: its new checkpoints are the newest.
TEST_F(Catalog, LaterOnesArePutAsideWhole) {
  save_steps({1, 2, 3, 4});
  const std::string aside = root_ + ".aside";
  fs::remove_all(aside);
  EXPECT_EQ(put_checkpoints_aside(root_, 2, aside), 2);
  EXPECT_EQ(listed(), (Names{"step-00000002", "step-00000001"}));
  EXPECT_NO_THROW(check_small_model(aside + "/step-00000004"));
  EXPECT_EQ(put_checkpoints_aside(root_, 2, aside), 0);
  EXPECT_EQ(put_checkpoints_aside(root_, -1, aside), 2);
  EXPECT_EQ(choice(2), "none");
  fs::remove_all(aside);
}

TEST_F(Catalog, Retention) {
  const auto kept = [&](int keep_last, int keep_every) {
    fs::remove_all(root_);
    save_steps({10, 20, 30, 40, 50});
    EXPECT_EQ(remove_old_checkpoints(root_, keep_last, keep_every), "");
    std::string steps;
    for (const std::string& name : listed()) steps += name.substr(11) + " ";
    EXPECT_EQ(all_names().size(), listed().size());
    return steps;
  };
  EXPECT_EQ(kept(2, 0), "50 40 ");
  EXPECT_EQ(kept(1, 20), "50 40 20 ");
  EXPECT_EQ(kept(0, 0), "50 ");
  EXPECT_EQ(kept(9, 0), "50 40 30 20 10 ");
  EXPECT_EQ(kept(2, 30), "50 40 30 ");
}

TEST_F(Catalog, RetentionLeavesDamagedOnesAndWhatIsNotOurs) {
  save_steps({1, 2, 3});
  damage("step-00000003", "COMMIT");
  fs::create_directory(root_ + "/notes");
  EXPECT_EQ(remove_old_checkpoints(root_, 1, 0), "");
  EXPECT_EQ(all_names(), (Names{"notes", "step-00000002", "step-00000003"}));
  fs::create_directory(root_ + "/step-00000002/mine");
  save_steps({4});
  const std::string problem = remove_old_checkpoints(root_, 1, 0);
  EXPECT_NE(problem.find("cannot remove"), std::string::npos) << problem;
  EXPECT_EQ(listed(), Names{"step-00000004"});
}

TEST_F(Catalog, RemovalThatStopsAnywhereLeavesOnlyWholeCheckpoints) {
  for (const Loss loss : {Loss::kNone, Loss::kUnsynced}) {
    bool ended = false;
    for (int number = 0; !ended; ++number) {
      fs::remove_all(root_);
      save_steps({1, 2, 3});
      FaultyFiles files;
      files.stop_at(number);
      try {
        EXPECT_EQ(remove_old_checkpoints(root_, 1, 0, &files), "");
        ended = true;
      } catch (const Stopped&) {
      }
      files.lose(loss);
      ASSERT_EQ(choice(2), "step-00000003");
      for (const std::string& path : list_checkpoints(root_)) {
        ASSERT_NO_THROW(check_small_model(path)) << number;
      }
      EXPECT_EQ(remove_old_checkpoints(root_, 1, 0), "");
      ASSERT_EQ(all_names(), Names{"step-00000003"}) << number;
      ASSERT_LT(number, 100);
    }
  }
}

TEST(Identity, DifferencesFieldByField) {
  const std::map<std::string, std::string> checkpoint = {
      {"data.digest", "aa"}, {"model.hidden_size", "256"}, {"train.lanes", "4"}};
  EXPECT_EQ(identity_differences(checkpoint, checkpoint), Names{});
  EXPECT_EQ(identity_differences(checkpoint, {{"model.hidden_size", "512"},
                                              {"precision.compute", "bf16"},
                                              {"train.lanes", "4"}}),
            (Names{"data.digest: checkpoint aa, config has none",
                   "model.hidden_size: checkpoint 256, config 512",
                   "precision.compute: checkpoint has none, config bf16"}));
}

TEST(Describe, SaysEverythingAndObeysNothing) {
  const std::string root = fresh_root();
  run_ranks_as_threads(1, [&](std::unique_ptr<ProcessGroup> world) {
    const Pieces pieces = make_pieces(small_model(), {});
    fill(pieces);
    CheckpointInfo info = info_of(42);
    info.state["note"] = "a\x1b[2Jb";
    CheckpointWriter writer(root, info);
    for (const TensorSlice& slice : pieces.slices) writer.add(slice);
    std::string error;
    ASSERT_TRUE(writer.commit(*world, error)) << error;
  });
  const std::string text = describe_checkpoint(CheckpointReader(root + "/step-00000042"));
  for (const char* part : {"42", "run-7", "zero 1", "model.hidden_size", "256", "layers.0.conv",
                           "[3, 5, 4]", "bf16", "120 bytes", "a?[2Jb"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
  }
}

}  // namespace
}  // namespace frugal::test
