#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "comm/world.h"
#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/saved_model.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;

// "" when the checkpoint opens and verifies, else why not.
std::string complaint(const std::string& path) {
  try {
    CheckpointReader(path).verify();
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
    return error.what();
  }
}

class Damage : public testing::Test {
 protected:
  Damage() {
    save_on_threads(2, root_, 1, Cut::kRuns);
    for (const auto& entry : fs::directory_iterator(folder_)) files_.push_back(entry.path());
    EXPECT_EQ(files_.size(), 6U);  // COMMIT, MANIFEST, two parts, two data files
    EXPECT_EQ(complaint(folder_), "");
  }

  const std::string root_ = fresh_root();
  const std::string folder_ = root_ + "/step-00000001";
  std::vector<std::string> files_;
};

TEST_F(Damage, EveryFlippedByteOfEveryFileIsFound) {
  for (const std::string& file : files_) {
    const std::string whole = read_bytes(file);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (i % 2 == 0 ? 1 << i / 2 % 8 : 0xff));
      write_bytes(file, damaged);
      ASSERT_NE(complaint(folder_), "") << file << " byte " << i;
    }
    write_bytes(file, whole);
  }
  EXPECT_EQ(complaint(folder_), "");
}

TEST_F(Damage, EveryTruncationAndExtensionIsFound) {
  for (const std::string& file : files_) {
    const std::string whole = read_bytes(file);
    const std::size_t step = file.ends_with(".safetensors") ? 7 : 1;
    for (std::size_t size = 0; size < whole.size(); size += step) {
      write_bytes(file, whole.substr(0, size));
      ASSERT_NE(complaint(folder_), "") << file << " cut to " << size;
    }
    write_bytes(file, whole + '\0');
    EXPECT_NE(complaint(folder_), "") << file;
    write_bytes(file, whole);
  }
}

TEST_F(Damage, EveryMissingOrReplacedFileIsFound) {
  const std::string aside = root_ + "/aside";
  for (const std::string& file : files_) {
    fs::rename(file, aside);
    EXPECT_NE(complaint(folder_), "") << file;
    fs::create_symlink(aside, file);
    EXPECT_NE(complaint(folder_), "") << file << " as a link";
    fs::remove(file);
    fs::create_directory(file);
    EXPECT_NE(complaint(folder_), "") << file << " as a folder";
    fs::remove(file);
    fs::rename(aside, file);
  }
  const std::string other = root_ + "/step-00000002";
  save_on_threads(2, root_, 2, Cut::kRuns);
  for (const char* name : {"COMMIT", "MANIFEST.pb"}) {
    const std::string own = read_bytes(folder_ + "/" + name);
    write_bytes(folder_ + "/" + name, read_bytes(other + "/" + name));
    EXPECT_NE(complaint(folder_), "") << name << " of another checkpoint";
    write_bytes(folder_ + "/" + name, own);
  }
}

TEST_F(Damage, ReadingNamesFileAndBytes) {
  const std::string file = folder_ + "/data-00001-000.safetensors";
  std::string bytes = read_bytes(file);
  bytes.back() = static_cast<char>(bytes.back() ^ 4);
  write_bytes(file, bytes);
  const CheckpointReader reader(folder_);  // opening reads no data
  EXPECT_NE(complaint(folder_).find("damaged in bytes "), std::string::npos);
  EXPECT_NE(complaint(folder_).find(file), std::string::npos);
  int refused = 0;
  const Pieces pieces = make_pieces(small_model(), {});
  for (const TensorSlice& slice : pieces.slices) {
    try {
      reader.read(slice);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(slice.name), std::string::npos) << error.what();
      ++refused;
    }
  }
  EXPECT_EQ(refused, 1);
}

TEST_F(Damage, SampledBytesOfLargeFilesAreFound) {
  run_ranks_as_threads(2, [&](std::unique_ptr<ProcessGroup> world) {
    const Pieces pieces = make_pieces(large_model(), {Cut::kRows, world->rank(), 2});
    fill(pieces);
    CheckpointWriter writer(root_, info_of(5));
    for (const TensorSlice& slice : pieces.slices) writer.add(slice);
    std::string error;
    ASSERT_TRUE(writer.commit(*world, error)) << error;
  });
  const std::string folder = root_ + "/step-00000005";
  std::mt19937_64 random(3);
  for (const char* name : {"/data-00000-000.safetensors", "/data-00001-000.safetensors"}) {
    const auto size = fs::file_size(folder + name);
    std::fstream file(folder + name, std::ios::binary | std::ios::in | std::ios::out);
    for (int round = 0; round < 30; ++round) {
      const auto at = static_cast<std::streamoff>(round == 0 ? size - 1 : random() % size);
      file.seekg(at);
      const char was = static_cast<char>(file.get());
      file.seekp(at).put(static_cast<char>(was ^ 0x10)).flush();
      ASSERT_NE(complaint(folder), "") << name << " byte " << at;
      file.seekp(at).put(was).flush();
    }
  }
  EXPECT_EQ(complaint(folder), "");
}

}  // namespace
}  // namespace frugal::test
