// A set of tensors of every rank, cut in the ways that layouts cut them; every element's bits are a
// function of tensor and global position, so any piece can be checked alone.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/process_group.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/file_ops.h"

namespace frugal::test {

struct ModelTensor {
  std::string name;
  Shape global;
  DType dtype;
};

std::vector<ModelTensor> small_model();  // a few KiB
std::vector<ModelTensor> large_model();  // a few MiB: pieces of several chunks

enum class Cut {
  kWhole,         // every tensor on one rank
  kRows,          // first dimension, uneven
  kColumns,       // last dimension, uneven
  kRuns,          // runs of elements of the whole tensor
  kRunsOfColumns  // runs of elements inside two column parts
};
inline constexpr Cut kCuts[] = {Cut::kWhole, Cut::kRows, Cut::kColumns, Cut::kRuns,
                                Cut::kRunsOfColumns};

// The pieces of one rank with the memory below them.
struct Pieces {
  std::vector<TensorSlice> slices;
  std::vector<std::unique_ptr<std::byte[]>> memory;
};
struct CutRank {
  Cut cut = Cut::kWhole;
  int rank = 0, ranks = 1;
};
Pieces make_pieces(const std::vector<ModelTensor>& model, const CutRank& cut);
void fill(const Pieces& pieces);  // the values of the model
void poison(const Pieces& pieces);
// The first element that is not the model's, or "".
std::string wrong_element(const Pieces& pieces);

CheckpointInfo info_of(std::int64_t step);

struct Outcome {
  bool committed = false;
  std::string error;
};
// Saves on this rank's part of the group. The same model for all steps.
Outcome save(ProcessGroup& world, const std::string& root, std::int64_t step, Cut cut,
             FileOps* files = nullptr);
// Saves on thread ranks; outcomes by rank. files: one for each rank, or one for all, or none.
std::vector<Outcome> save_on_threads(int ranks, const std::string& root, std::int64_t step, Cut cut,
                                     const std::vector<FileOps*>& files = {});

// Throws unless the checkpoint verifies and holds the small model.
void check_small_model(const std::string& path);

// A path that nothing has yet, removed when the process ends.
std::string fresh_root();

std::string read_bytes(const std::string& path);
void write_bytes(const std::string& path, const std::string& bytes);

}  // namespace frugal::test
