// Checkpoints: what is saved, how it is committed, how any layout reads what any other wrote.
// Format: trainer/checkpoint/README.md.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/process_group.h"
#include "kernels/core/tensor.h"

namespace frugal {

// A box of a global tensor: rows begin at offset[0], and so on. local.shape has the rank of global
// and is the size of the box.
struct TensorSlice {
  std::string name;
  Shape global;
  std::array<std::int64_t, 4> offset{};
  Tensor local;  // on the host; for a writer with a stream also elsewhere
};

// Fills slice.local, which lies on the host. Called by several threads at once. Throws
// Error(kData).
using SliceReader = std::function<void(const TensorSlice& slice)>;

// A run of elements of the row-major order of a box of a global tensor: how ZeRO cuts a parameter.
struct TensorRun {
  std::string name;
  Shape global;
  std::array<std::int64_t, 4> offset{};  // the box: this rank's tensor-parallel part
  Shape extent;
  std::int64_t begin = 0, end = 0;  // elements of the box, row-major
  Tensor local;                     // [end - begin]; slices lie where it lies
};
// The run as a few boxes (a partial first row, whole rows, a partial last row; the same inside rows
// of more dimensions), views of run.local: add() or read() each of them.
std::vector<TensorSlice> slices_of_run(const TensorRun& run);

// Everything that is not a tensor. `identity` is what must not change on resume, compared field by
// field: model, tokenizer and data digests, lanes, batch sizes, precision. `state` is what the run
// goes on from (tokens, counters), values as text. Both are ordered for stable bytes.
struct CheckpointInfo {
  std::int64_t step = 0;
  std::string run_id;
  std::string layout;  // for people: "data 2 x pipeline 2 x tensor 1, zero 1"
  std::string config;  // resolved YAML
  std::map<std::string, std::string> identity;
  std::map<std::string, std::string> state;
};

class FileOps;  // file_ops.h

struct CheckpointWriterOptions {
  FileOps* files = nullptr;                  // null: the disk
  std::int64_t data_file_bytes = 2LL << 30;  // a data file that would grow beyond it is ended
  // For pieces that do not lie on the host: their device's stream, and host memory to go through
  // (u8, at least a MiB).
  Stream* stream = nullptr;
  Tensor staging;
};

// Collective over world: every rank adds its pieces, then all call commit. The folder
// root/step-XXXXXXXX appears whole or not at all; where that step has a checkpoint already, the new
// one is step-XXXXXXXX.2 and so on. One writer at a time under one root, which all nodes share.
class CheckpointWriter {
 public:
  // info and root of rank 0 count.
  CheckpointWriter(std::string root, CheckpointInfo info, CheckpointWriterOptions options = {});
  // Data is read at commit: local must stay valid and unchanged until then, and no stream but the
  // options' may be about to write it. Pieces of one name over all ranks must cover the tensor
  // exactly once. Names: printable ASCII without space, quote, backslash and at-sign, at most 512
  // bytes.
  void add(TensorSlice slice);
  // Returns true when the checkpoint is committed on every rank's account; false when writing
  // failed (disk full, ...): then `error` says why on every rank, nothing of the attempt is left
  // behind and older checkpoints are untouched. Throws only for bugs and a lost peer: pieces that
  // do not cover a tensor exactly once are Error(kInternal) before anything is written (as
  // everywhere, a rank whose peer threw first may see Error(kCommunication)). Holds no copy of the
  // data.
  bool commit(ProcessGroup& world, std::string& error);

 private:
  std::string root_;
  CheckpointInfo info_;
  CheckpointWriterOptions options_;
  std::vector<TensorSlice> slices_;
};

// One committed checkpoint, opened and its COMMIT, manifest and parts checked. Thread-safe to read.
// Holds one buffer of a MiB per call, whatever the files say.
class CheckpointReader {
 public:
  // Throws Error(kData) saying what is wrong, Error(kPreflight) where this process may not read it.
  explicit CheckpointReader(const std::string& directory);
  ~CheckpointReader();
  CheckpointReader(CheckpointReader&&) noexcept;

  const CheckpointInfo& info() const;
  const std::string& directory() const;
  // Fills slice.local from every stored piece that intersects its box, checking the checksum of
  // each chunk touched. Throws Error(kData) when the tensor is absent, of another shape or dtype,
  // or damaged.
  void read(const TensorSlice& slice) const;
  bool has(std::string_view name) const;
  // Name, dtype, global shape of every tensor, sorted by name.
  struct Entry {
    std::string name;
    DType dtype;
    Shape global;
  };
  std::vector<Entry> tensors() const;
  // Reads every byte and compares every checksum. Throws Error(kData) naming file and byte range.
  // With shares > 1: only the data files share, share + shares, ...
  void verify(int share = 0, int shares = 1) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What `frugal checkpoint inspect` prints: step, run, layout, identity, state, and of every tensor
// dtype, shape and bytes. Characters that a terminal would obey are replaced.
std::string describe_checkpoint(const CheckpointReader& reader);

// Paths of committed checkpoints under root, newest first; cheap (COMMIT markers only). Folders
// being written or damaged are not in it.
std::vector<std::string> list_checkpoints(const std::string& root);

// Collective. The path of the newest checkpoint under root that opens and verifies (the ranks share
// the reading); each damaged one before it gives one line through `say` on rank 0 and is renamed to
// damaged-step-XXXXXXXX. nullopt: root holds no checkpoint at all. Throws Error(kData) when there
// are some, also such put aside, and none is usable: never a fresh start. Throws Error(kPreflight)
// where a checkpoint may not be read.
std::optional<std::string> find_usable_checkpoint(const std::string& root, ProcessGroup& world,
                                                  const std::function<void(std::string_view)>& say);

// Field by field: "model.hidden_size: checkpoint 256, config 512", one entry per difference,
// missing fields included.
std::vector<std::string> identity_differences(const std::map<std::string, std::string>& checkpoint,
                                              const std::map<std::string, std::string>& run);

// Moves the committed checkpoints of steps after `step` into the folder `aside`, which is made:
// they are of a history that the run leaves. Returns how many there were. Call on one rank. Throws
// Error(kData) when one cannot be moved.
int put_checkpoints_aside(const std::string& root, std::int64_t step, const std::string& aside);

// Removes what keep_last and keep_every (steps, 0: none) do not keep, never the newest. Call on one
// rank, not during a commit. Returns what could not be removed and why; empty when all went well.
// files: null for the disk.
std::string remove_old_checkpoints(const std::string& root, int keep_last, int keep_every,
                                   FileOps* files = nullptr);

}  // namespace frugal
