#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "comm/world.h"
#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "tests/trainer/checkpoint/saved_model.h"

namespace frugal::test {
namespace {

namespace fs = std::filesystem;

struct Layout {
  Cut cut;
  int ranks;
};

void save_model(const std::vector<ModelTensor>& model, const std::string& root,
                const Layout& layout, std::int64_t data_file_bytes = 2LL << 30) {
  run_ranks_as_threads(layout.ranks, [&](std::unique_ptr<ProcessGroup> world) {
    const Pieces pieces = make_pieces(model, {layout.cut, world->rank(), world->size()});
    fill(pieces);
    CheckpointWriter writer(root, info_of(1), {nullptr, data_file_bytes});
    for (const TensorSlice& slice : pieces.slices) writer.add(slice);
    std::string error;
    ASSERT_TRUE(writer.commit(*world, error)) << error;
  });
}

void expect_readable_as(const CheckpointReader& reader, const std::vector<ModelTensor>& model,
                        const Layout& layout) {
  for (int rank = 0; rank < layout.ranks; ++rank) {
    const Pieces pieces = make_pieces(model, {layout.cut, rank, layout.ranks});
    poison(pieces);
    for (const TensorSlice& slice : pieces.slices) reader.read(slice);
    EXPECT_EQ(wrong_element(pieces), "") << "rank " << rank << " of " << layout.ranks;
  }
}

TEST(Reshard, AnyLayoutReadsWhatAnyOtherWrote) {
  const std::string base = fresh_root();
  for (const Cut written : kCuts) {
    for (const int ranks : {1, 3, 4}) {
      const std::string root = base + "/" + std::to_string(static_cast<int>(written) * 10 + ranks);
      save_model(small_model(), root, {written, ranks});
      const CheckpointReader reader(root + "/step-00000001");
      reader.verify();
      for (const Cut read : kCuts) {
        for (const int readers : {1, 2, 5})
          expect_readable_as(reader, small_model(), {read, readers});
      }
    }
  }
}

TEST(Reshard, PiecesOfSeveralChunks) {
  const std::string base = fresh_root();
  for (const Layout written : {Layout{Cut::kColumns, 2}, {Cut::kRuns, 3}, {Cut::kWhole, 1}}) {
    const std::string root = base + "/" + std::to_string(static_cast<int>(written.cut));
    save_model(large_model(), root, written);
    const CheckpointReader reader(root + "/step-00000001");
    reader.verify();
    for (const Cut read : kCuts) expect_readable_as(reader, large_model(), {read, 2});
  }
}

TEST(Reshard, InfoComesBack) {
  const std::string root = fresh_root();
  save_on_threads(2, root, 300, Cut::kRows);
  const CheckpointReader reader(root + "/step-00000300");
  const CheckpointInfo expected = info_of(300);
  EXPECT_EQ(reader.info().step, 300);
  EXPECT_EQ(reader.info().run_id, expected.run_id);
  EXPECT_EQ(reader.info().layout, expected.layout);
  EXPECT_EQ(reader.info().config, expected.config);
  EXPECT_EQ(reader.info().identity, expected.identity);
  EXPECT_EQ(reader.info().state, expected.state);
  EXPECT_TRUE(reader.has("scale"));
  EXPECT_FALSE(reader.has("scal"));
  const auto tensors = reader.tensors();
  ASSERT_EQ(tensors.size(), small_model().size());
  EXPECT_EQ(tensors.front().name, "counts");
  EXPECT_EQ(tensors.front().dtype, DType::kI32);
  EXPECT_EQ(tensors.front().global, Shape({9}));
}

TEST(Reshard, ReadingWhatIsNotThereFails) {
  const std::string root = fresh_root();
  save_on_threads(1, root, 1, Cut::kWhole);
  const CheckpointReader reader(root + "/step-00000001");
  const auto expect_refused = [&](const std::string& name, Shape global, DType dtype) {
    const Pieces pieces = make_pieces({{name, global, dtype}}, {});
    try {
      reader.read(pieces.slices[0]);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  };
  expect_refused("nothing", {13, 6}, DType::kF32);
  expect_refused("embed.weight", {13, 7}, DType::kF32);
  expect_refused("embed.weight", {78}, DType::kF32);
  expect_refused("embed.weight", {13, 6}, DType::kBF16);
}

// Every tool must be able to read the files: sorted, no holes, aligned, offsets as the format says.
void expect_strict_safetensors(const std::string& path) {
  const std::string bytes = read_bytes(path);
  std::uint64_t length = 0;
  ASSERT_GE(bytes.size(), sizeof(length));
  std::memcpy(&length, bytes.data(), sizeof(length));
  ASSERT_EQ(length % 8, 0U);
  ASSERT_LE(8 + length, bytes.size());
  const auto header = nlohmann::ordered_json::parse(bytes.substr(8, length));
  const std::map<std::string, std::uint64_t> sizes = {
      {"F32", 4}, {"BF16", 2}, {"I32", 4}, {"U8", 1}};
  std::uint64_t position = 0;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    std::uint64_t elements = 1;
    for (const std::uint64_t size : entry["shape"]) elements *= size;
    const std::uint64_t size = sizes.at(entry["dtype"]);
    EXPECT_EQ(entry["data_offsets"][0].get<std::uint64_t>(), position) << name;
    EXPECT_EQ(position % size, 0U) << name;
    position += elements * size;
    EXPECT_EQ(entry["data_offsets"][1].get<std::uint64_t>(), position) << name;
  }
  EXPECT_EQ(8 + length + position, bytes.size());
}

TEST(Reshard, DataFilesAreStrictSafetensorsAndEndAtTheirLimit) {
  const std::string root = fresh_root();
  save_model(small_model(), root, {Cut::kRuns, 2}, 200);
  const std::string folder = root + "/step-00000001";
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    expect_strict_safetensors(entry.path());
    ++files;
  }
  EXPECT_GT(files, 6);
  const CheckpointReader reader(folder);
  reader.verify();
  expect_readable_as(reader, small_model(), {Cut::kColumns, 2});
}

TEST(Reshard, TwoSavesOfOneStateHaveTheSameDataBytes) {
  const std::string root = fresh_root();
  save_on_threads(2, root, 1, Cut::kRows);
  save_on_threads(2, root, 2, Cut::kRows);
  for (const char* name : {"part-00000.pb", "part-00001.pb", "data-00000-000.safetensors"}) {
    EXPECT_EQ(read_bytes(root + "/step-00000001/" + name),
              read_bytes(root + "/step-00000002/" + name));
  }
}

TEST(Reshard, PiecesThatDoNotMakeWholeTensorsAreABug) {
  const std::string root = fresh_root();
  const auto expect_refused = [&](bool twice) {
    run_ranks_as_threads(2, [&](std::unique_ptr<ProcessGroup> world) {
      Pieces pieces = make_pieces(small_model(), {Cut::kRuns, world->rank(), 2});
      fill(pieces);
      if (world->rank() == 1) {
        if (twice) pieces.slices.push_back(pieces.slices[2]);
        if (!twice) pieces.slices.erase(pieces.slices.begin() + 2);
      }
      CheckpointWriter writer(root, info_of(1));
      for (const TensorSlice& slice : pieces.slices) writer.add(slice);
      std::string error;
      try {  // nothing leaves this rank, so that its peer sees the same
        writer.commit(*world, error);
        ADD_FAILURE() << "not refused";
      } catch (const Error& problem) {
        EXPECT_EQ(problem.kind(), ErrorKind::kInternal);
        EXPECT_NE(std::string(problem.what()).find("exactly once"), std::string::npos);
      }
    });
    EXPECT_FALSE(fs::exists(root));
  };
  expect_refused(true);
  expect_refused(false);
}

TEST(Reshard, NamesAndBoxesAreCheckedWhenAdded) {
  CheckpointWriter writer(fresh_root(), info_of(1));
  const auto slice_named = [](const std::string& name) {
    return make_pieces({{name, {4}, DType::kF32}}, {});
  };
  for (const char* name : {"", "a b", "a@0", "a\"", "a\\", "a\n", "\xc3\xa9"}) {
    EXPECT_THROW(writer.add(slice_named(name).slices[0]), Error) << name;
  }
  EXPECT_THROW(writer.add(slice_named(std::string(513, 'a')).slices[0]), Error);
  EXPECT_NO_THROW(writer.add(slice_named(std::string(512, 'a')).slices[0]));
  Pieces outside = slice_named("a");
  outside.slices[0].offset[0] = 1;
  EXPECT_THROW(writer.add(outside.slices[0]), Error);
}

}  // namespace
}  // namespace frugal::test
