#include "tests/trainer/checkpoint/saved_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "comm/world.h"
#include "kernels/core/check.h"
#include "trainer/checkpoint/box.h"

namespace frugal::test {
namespace {

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
  x = (x ^ x >> 27) * 0x94d049bb133111ebU;
  return x ^ x >> 31;
}

// Calls visit(bytes of an element of the slice, its global position).
void for_each_element(const TensorSlice& slice,
                      const std::function<void(std::byte*, std::int64_t)>& visit) {
  const auto size = static_cast<std::int64_t>(size_of(slice.local.dtype));
  for_each_common_run({slice.offset, slice.local.shape}, {{}, slice.global},
                      [&](std::int64_t from, std::int64_t to, std::int64_t count) {
                        for (std::int64_t i = 0; i < count; ++i) {
                          visit(slice.local.data + (from + i) * size, to + i);
                        }
                      });
}

std::uint64_t bits_of(const TensorSlice& slice, std::int64_t position) {
  const std::uint64_t name = std::hash<std::string>{}(slice.name);
  return mix(name + static_cast<std::uint64_t>(position) * 0x9e3779b97f4a7c15U);
}

void add(Pieces& pieces, const ModelTensor& tensor, const Box& box) {
  const Tensor local{nullptr, box.extent, tensor.dtype, {}};
  pieces.memory.push_back(std::make_unique<std::byte[]>(local.bytes() + 1));
  pieces.slices.push_back({tensor.name, tensor.global, box.offset, local});
  pieces.slices.back().local.data = pieces.memory.back().get();
}

void add_run(Pieces& pieces, const ModelTensor& tensor, const Box& box, const CutRank& cut) {
  const std::int64_t elements = box.extent.numel();
  TensorRun run{tensor.name,
                tensor.global,
                box.offset,
                box.extent,
                elements * cut.rank / cut.ranks,
                elements * (cut.rank + 1) / cut.ranks,
                {}};
  run.local = {nullptr, {run.end - run.begin}, tensor.dtype, {}};
  pieces.memory.push_back(std::make_unique<std::byte[]>(run.local.bytes() + 1));
  run.local.data = pieces.memory.back().get();
  for (const TensorSlice& slice : slices_of_run(run)) pieces.slices.push_back(slice);
}

// One for each process, since test runs may overlap.
struct ScratchFolder {
  const std::string path = concat(testing::TempDir(), "frugal_checkpoint_", getpid());
  ScratchFolder() { std::filesystem::create_directories(path); }
  ~ScratchFolder() { std::filesystem::remove_all(path); }
};

Box part_of(const ModelTensor& tensor, int dimension, int part, int parts) {
  Box box{{}, tensor.global};
  const auto d = static_cast<std::size_t>(dimension);
  box.offset[d] = tensor.global.dim[d] * part / parts;
  box.extent.dim[d] = tensor.global.dim[d] * (part + 1) / parts - box.offset[d];
  return box;
}

}  // namespace

std::vector<ModelTensor> small_model() {
  return {{"embed.weight", {13, 6}, DType::kF32},
          {"layers.0.w", {7, 10}, DType::kBF16},
          {"layers.0.w/m", {7, 10}, DType::kF32},
          {"layers.0.conv", {3, 5, 4}, DType::kBF16},
          {"layers.0.four", {2, 3, 5, 4}, DType::kF32},
          {"layers.0.norm", {11}, DType::kF32},
          {"counts", {9}, DType::kI32},
          {"flags", {5, 3}, DType::kU8},
          {"scale", {}, DType::kF32}};
}

std::vector<ModelTensor> large_model() {
  return {{"big", {701, 1003}, DType::kF32}, {"wide", {3, 700001}, DType::kBF16}};
}

Pieces make_pieces(const std::vector<ModelTensor>& model, const CutRank& cut) {
  Pieces pieces;
  int number = 0;
  for (const ModelTensor& tensor : model) {
    const bool mine = number++ % cut.ranks == cut.rank;
    if (cut.cut == Cut::kWhole || tensor.global.rank == 0) {
      if (mine) add(pieces, tensor, {{}, tensor.global});
      continue;
    }
    const int last = tensor.global.rank - 1;
    if (cut.cut == Cut::kRows) add(pieces, tensor, part_of(tensor, 0, cut.rank, cut.ranks));
    if (cut.cut == Cut::kColumns) add(pieces, tensor, part_of(tensor, last, cut.rank, cut.ranks));
    if (cut.cut == Cut::kRuns) add_run(pieces, tensor, {{}, tensor.global}, cut);
    if (cut.cut == Cut::kRunsOfColumns) {
      add_run(pieces, tensor, part_of(tensor, last, 0, 2), cut);
      add_run(pieces, tensor, part_of(tensor, last, 1, 2), cut);
    }
  }
  return pieces;
}

void fill(const Pieces& pieces) {
  for (const TensorSlice& slice : pieces.slices) {
    for_each_element(slice, [&](std::byte* element, std::int64_t position) {
      const std::uint64_t bits = bits_of(slice, position);
      std::memcpy(element, &bits, size_of(slice.local.dtype));
    });
  }
}

void poison(const Pieces& pieces) {
  for (const TensorSlice& slice : pieces.slices) {
    std::memset(slice.local.data, 0xa5, slice.local.bytes());
  }
}

std::string wrong_element(const Pieces& pieces) {
  std::string wrong;
  for (const TensorSlice& slice : pieces.slices) {
    for_each_element(slice, [&](std::byte* element, std::int64_t position) {
      const std::uint64_t bits = bits_of(slice, position);
      if (std::memcmp(element, &bits, size_of(slice.local.dtype)) != 0) {
        wrong = concat(slice.name, " element ", position);
      }
    });
  }
  return wrong;
}

CheckpointInfo info_of(std::int64_t step) {
  return {step,
          "run-7",
          "data 2 x pipeline 1 x tensor 1, zero 1",
          "run:\n  name: test\n",
          {{"model.hidden_size", "256"}, {"train.lanes", "4"}},
          {{"tokens", std::to_string(step * 1000)}}};
}

Outcome save(ProcessGroup& world, const std::string& root, std::int64_t step, Cut cut,
             FileOps* files) {
  const Pieces pieces = make_pieces(small_model(), {cut, world.rank(), world.size()});
  fill(pieces);
  CheckpointWriter writer(root, info_of(step), {files, 2LL << 30});
  for (const TensorSlice& slice : pieces.slices) writer.add(slice);
  Outcome outcome;
  outcome.committed = writer.commit(world, outcome.error);
  return outcome;
}

std::vector<Outcome> save_on_threads(int ranks, const std::string& root, std::int64_t step, Cut cut,
                                     const std::vector<FileOps*>& files) {
  std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks));
  run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
    const auto rank = static_cast<std::size_t>(world->rank());
    FileOps* own = files.empty() ? nullptr : files[files.size() == 1 ? 0 : rank];
    outcomes[rank] = save(*world, root, step, cut, own);
  });
  return outcomes;
}

void check_small_model(const std::string& path) {
  const CheckpointReader reader(path);
  reader.verify();
  const Pieces pieces = make_pieces(small_model(), {});
  poison(pieces);
  for (const TensorSlice& slice : pieces.slices) reader.read(slice);
  const std::string wrong = wrong_element(pieces);
  FRUGAL_CHECK(wrong.empty(), path, ": wrong bits: ", wrong);
}

std::string fresh_root() {
  static const ScratchFolder scratch;
  static int number = 0;
  return concat(scratch.path, "/", ++number);
}

std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  FRUGAL_CHECK(in.good(), path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  FRUGAL_CHECK(out.good(), path);
}

}  // namespace frugal::test
