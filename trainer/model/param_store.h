// The parameters of one rank: where their weights and gradients lie.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/arena.h"
#include "kernels/core/stream.h"
#include "trainer/model/param.h"

namespace frugal {

// Every parameter begins at a block: sums of squares, ZeRO parts and exchanges are cut at blocks
// only, so their bits depend on the parameter and not on its neighbours.
inline constexpr std::int64_t kParamBlock = 4096;  // elements
// A bucket is closed when it has this many: large enough for bandwidth, small enough to overlap
// with the rest of backward.
inline constexpr std::int64_t kBucketBlocks = 1024;  // 16 MiB of float32

// FNV-1a: random numbers of a parameter depend on its name alone.
std::uint64_t hash_of(std::string_view name);

// Parameters that are reduced and gathered together: [blocks, kParamBlock], contiguous in weights
// and gradients. All of them are trained, or none.
struct ParamBucket {
  std::vector<ParamId> params;
  std::int64_t blocks = 0;
  bool replicated =
      false;  // over the tensor axis: gradients are partial sums over this rank's tokens
  ParamTie tie = ParamTie::kNone;  // a tied parameter is alone in its bucket
  bool owns_weights = true;        // false: a copy whose owner is on this rank
  bool trained = true;             // false: frozen, without gradients
  Tensor weights;                  // compute dtype
  Tensor grads;                    // f32; not given where frozen
};

// Declare everything, then allocate, then use. Owned by the run; one thread.
class ParamStore {
 public:
  struct Entry {
    ParamSpec spec;
    int bucket = -1;
    std::int64_t block = 0;  // first block within the bucket
    std::int64_t blocks = 0;
    ParamId tied_to = -1;  // the entry of this rank whose weight it shares
  };

  // frozen_base: only adapters are trained.
  explicit ParamStore(DType dtype, bool frozen_base = false)
      : dtype_(dtype), frozen_base_(frozen_base) {}

  // A copy (ParamTie) whose owner is on this rank shares its weight and has a gradient of its own.
  ParamId declare(const ParamSpec& spec);
  // Parameters declared so far and later ones do not share a bucket: for stages, and for layers
  // that fuse their backward, whose gradients become ready at other times.
  void end_bucket_group() { open_ = {-1, -1, -1, -1}; }
  // The last step of planning: takes memory for weights, and gradients of what is trained, from the
  // arenas (null tensors from counting ones).
  void allocate(Arena& weights, Arena& grads);

  Tensor weight(ParamId id) const;  // local shape
  Tensor grad(ParamId id) const;    // local shape, f32. REQUIRES: trained
  bool trained(ParamId id) const {
    return buckets_[static_cast<std::size_t>(entry(id).bucket)].trained;
  }
  // The first that was declared under the name. Throws Error(kInternal) where there is none.
  ParamId find(std::string_view name) const;
  const Entry& entry(ParamId id) const { return entries_[static_cast<std::size_t>(id)]; }
  int size() const { return static_cast<int>(entries_.size()); }
  const std::vector<ParamBucket>& buckets() const { return buckets_; }
  DType dtype() const { return dtype_; }

  // Fills weights from their global coordinates: the same values on every layout. Frozen ones too,
  // unless only_trained.
  void initialize(std::uint64_t seed, Stream& stream, bool only_trained = false) const;

 private:
  int bucket_for(const ParamSpec& spec);
  Tensor view(const Tensor& bucket, const Entry& entry) const;

  DType dtype_;
  bool frozen_base_;
  std::vector<Entry> entries_;
  std::vector<ParamBucket> buckets_;
  std::array<int, 4> open_{-1, -1, -1, -1};  // the bucket that is filled, by 2 * trained + sharded
};

}  // namespace frugal
