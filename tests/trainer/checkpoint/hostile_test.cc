// Files whose checksums are right and whose content is not: what a bug or an enemy could write.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <random>

#include "kernels/core/check.h"
#include "tests/trainer/checkpoint/allocations.h"
#include "tests/trainer/checkpoint/saved_model.h"
#include "trainer/checkpoint/format.h"

namespace frugal::test {
namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

class Hostile : public testing::Test {
 protected:
  Hostile() {
    save_on_threads(1, root_, 1, Cut::kWhole);
    part_bytes_ = read_bytes(folder_ + "/part-00000.pb");
    manifest_bytes_ = read_bytes(folder_ + "/MANIFEST.pb");
    reset();
  }

  void reset() {
    ASSERT_TRUE(parse_message(part_, part_bytes_));
    ASSERT_TRUE(parse_message(manifest_, manifest_bytes_));
  }
  std::int64_t original_header_bytes() {
    stored::Part original;
    EXPECT_TRUE(parse_message(original, part_bytes_));
    return original.files(0).header_bytes();
  }
  stored::Piece& piece() { return *part_.mutable_files(0)->mutable_pieces(0); }

  void seal_manifest(const std::string& bytes) {
    write_bytes(folder_ + "/MANIFEST.pb", bytes);
    const CommitBytes commit =
        encode_commit({manifest_.step(), manifest_.attempt(),
                       static_cast<std::int64_t>(bytes.size()), xxh3_64(bytes_of(bytes))});
    write_bytes(folder_ + "/COMMIT", {reinterpret_cast<const char*>(commit.data()), commit.size()});
  }
  void seal_part(const std::string& bytes) {
    write_bytes(folder_ + "/part-00000.pb", bytes);
    manifest_.mutable_parts(0)->set_bytes(static_cast<std::int64_t>(bytes.size()));
    manifest_.mutable_parts(0)->set_xxh3(xxh3_64(bytes_of(bytes)));
    seal_manifest(manifest_.SerializeAsString());
  }

  // Opening must fail for `why` without a large allocation. Then everything is as before.
  void expect_refused(const std::string& why) {
    const LargestAllocation largest;
    try {
      CheckpointReader(folder_).verify();
      ADD_FAILURE() << "accepted: " << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
      EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
    }
    EXPECT_LT(largest.bytes(), std::size_t{4} << 20) << why;
    reset();
    seal_part(part_bytes_);
  }
  void expect_part_refused(const std::string& why) {
    seal_part(part_.SerializeAsString());
    expect_refused(why);
  }

  const std::string root_ = fresh_root();
  const std::string folder_ = root_ + "/step-00000001";
  std::string part_bytes_, manifest_bytes_;
  stored::Part part_;
  stored::Manifest manifest_;
};

TEST_F(Hostile, Pieces) {
  piece().set_name("a\x1b[2J");
  expect_part_refused("invalid name");
  piece().set_name(std::string(513, 'a'));
  expect_part_refused("invalid name");
  piece().set_dtype(stored::UNSPECIFIED);
  expect_part_refused("unknown dtype");
  piece().set_dtype(static_cast<stored::DType>(99));
  expect_part_refused("unknown dtype");
  for (int i = 0; i < 5; ++i) piece().add_global(1);
  expect_part_refused("number of dimensions");
  piece().add_offset(0);
  expect_part_refused("number of dimensions");
  piece().clear_extent();
  expect_part_refused("number of dimensions");
  piece().set_extent(0, kHuge);
  expect_part_refused("impossible sizes");
  piece().set_global(0, kHuge);
  expect_part_refused("impossible sizes");
  piece().set_extent(0, 0);
  expect_part_refused("impossible sizes");
  piece().set_extent(0, -1);
  expect_part_refused("impossible sizes");
  piece().set_offset(0, kHuge);
  expect_part_refused("outside the tensor");
  piece().set_offset(0, -1);
  expect_part_refused("outside the tensor");
  piece().set_begin(1);
  expect_part_refused("wrong position");
  piece().set_begin(-kHuge);
  expect_part_refused("wrong position");
  piece().add_chunk_xxh3(1);
  expect_part_refused("wrong position or checksums");
  piece().clear_chunk_xxh3();
  expect_part_refused("wrong position or checksums");
}

TEST_F(Hostile, Files) {
  for (const std::int64_t bytes :
       {std::int64_t{-1}, std::int64_t{0}, std::int64_t{7}, kMaxHeaderBytes + 1, kHuge}) {
    part_.mutable_files(0)->set_header_bytes(bytes);
    expect_part_refused("a file header of");
  }
  part_.mutable_files(0)->set_header_bytes(part_.files(0).header_bytes() + 8);
  expect_part_refused("do not fill their file");
  part_.mutable_files(0)->set_bytes(kHuge);
  expect_part_refused("do not fill their file");
  part_.mutable_files(0)->set_header_bytes(kMaxHeaderBytes);
  part_.mutable_files(0)->set_bytes(part_.files(0).bytes() - original_header_bytes() +
                                    kMaxHeaderBytes);
  expect_part_refused("instead of");
  part_.mutable_files(0)->set_header_xxh3(1);
  expect_part_refused("(header)");
  part_.add_files();
  expect_part_refused("a file header of");
  part_.add_files()->set_header_bytes(8);
  part_.mutable_files(1)->set_bytes(8);
  expect_part_refused("data-00000-001.safetensors");
  for (int i = 0; i < kMaxFilesPerPart; ++i) part_.add_files();
  expect_part_refused("lists 1001 files");
}

TEST_F(Hostile, TensorsWithGapsOverlapsOrTwoShapes) {
  // A tensor that claims to be larger than its pieces: terabytes, never allocated.
  piece().set_global(0, std::int64_t{1} << 40);
  expect_part_refused("exactly once");
  auto* pieces = part_.mutable_files(0)->mutable_pieces();
  stored::Piece& next = *part_.mutable_files(0)->mutable_pieces(1);
  ASSERT_NE(next.name(), piece().name());
  next.set_name(piece().name());
  expect_part_refused("elsewhere");
  pieces->RemoveLast();
  expect_part_refused("do not fill their file");
}

TEST_F(Hostile, Manifests) {
  const auto expect_manifest_refused = [&](const std::string& why) {
    seal_manifest(manifest_.SerializeAsString());
    expect_refused(why);
  };
  manifest_.clear_parts();
  expect_manifest_refused("lists 0 parts");
  manifest_.add_parts();
  expect_manifest_refused("part-00001.pb");
  manifest_.mutable_parts(0)->set_bytes(kHuge);
  expect_manifest_refused("would have");
  manifest_.mutable_parts(0)->set_bytes(-1);
  expect_manifest_refused("would have");
  *manifest_.add_state() = manifest_.state(0);
  expect_manifest_refused("occurs twice");
  seal_part("\xff\xff\xff");
  expect_refused("not readable");
  seal_part(part_bytes_ + '\x07');
  expect_refused("not readable");
  // Groups in groups, in a field that no message has.
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '\x7b') + std::string(depth, '\x7c');
  };
  seal_manifest(manifest_bytes_ + nested(16));
  EXPECT_NO_THROW(CheckpointReader(folder_).verify());
  seal_manifest(manifest_bytes_ + nested(17));
  expect_refused("not readable");
}

TEST_F(Hostile, CommitSizes) {
  const auto seal_commit = [&](std::int64_t manifest_bytes) {
    const CommitBytes commit = encode_commit({1, manifest_.attempt(), manifest_bytes, 0});
    write_bytes(folder_ + "/COMMIT", {reinterpret_cast<const char*>(commit.data()), commit.size()});
  };
  for (const std::int64_t bytes : {std::int64_t{-1}, kMaxMessageBytes + 1, kHuge}) {
    seal_commit(bytes);
    expect_refused("would have");
  }
  manifest_.set_step(2);  // COMMIT still says what the manifest says
  const std::string other = manifest_.SerializeAsString();
  manifest_.set_step(1);
  seal_manifest(other);
  expect_refused("belongs to another COMMIT");
  const std::uint64_t attempt = manifest_.attempt();
  manifest_.set_attempt(attempt + 1);
  const std::string another = manifest_.SerializeAsString();
  manifest_.set_attempt(attempt);
  seal_manifest(another);
  expect_refused("belongs to another COMMIT");
  std::filesystem::resize_file(folder_ + "/MANIFEST.pb", 1ULL << 40);  // a hole: no disk is used
  expect_refused("more than");
}

// Random bytes with right checksums: an error or a checkpoint, nothing else.
TEST_F(Hostile, RandomPartsNeverCrash) {
  std::mt19937 random(4);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = part_bytes_;
    for (unsigned change = 0; change <= random() % 4; ++change) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 3) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, random() % 8);
          break;
        default:
          bytes.insert(at, std::string(1 + random() % 8, static_cast<char>(random())));
      }
      if (bytes.empty()) bytes = part_bytes_;
    }
    seal_part(bytes);
    try {
      const CheckpointReader reader(folder_);
      reader.verify();
      describe_checkpoint(reader);
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::kData) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 1900);
}

}  // namespace
}  // namespace frugal::test
