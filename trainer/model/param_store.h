// The parameters of one rank: where their weights and gradients lie.
#pragma once

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
// and gradients.
struct ParamBucket {
  std::vector<ParamId> params;
  std::int64_t blocks = 0;
  bool replicated =
      false;  // over the tensor axis: gradients are partial sums over this rank's tokens
  ParamTie tie = ParamTie::kNone;  // a tied parameter is alone in its bucket
  bool owns_weights = true;        // false: a copy whose owner is on this rank
  Tensor weights;                  // compute dtype
  Tensor grads;                    // f32
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

  explicit ParamStore(DType dtype) : dtype_(dtype) {}

  // A copy (ParamTie) whose owner is on this rank shares its weight and has a gradient of its own.
  ParamId declare(const ParamSpec& spec);
  // Parameters declared so far and later ones do not share a bucket: for stages, and for layers
  // that fuse their backward, whose gradients become ready at other times.
  void end_bucket_group() { open_sharded_ = open_replicated_ = -1; }
  // The last step of planning: takes memory for weights and gradients from the arenas (null tensors
  // from counting ones).
  void allocate(Arena& weights, Arena& grads);

  Tensor weight(ParamId id) const;  // local shape
  Tensor grad(ParamId id) const;    // local shape, f32
  // The first that was declared under the name. Throws Error(kInternal) where there is none.
  ParamId find(std::string_view name) const;
  const Entry& entry(ParamId id) const { return entries_[static_cast<std::size_t>(id)]; }
  int size() const { return static_cast<int>(entries_.size()); }
  const std::vector<ParamBucket>& buckets() const { return buckets_; }
  DType dtype() const { return dtype_; }

  // Fills every weight from its global coordinates: the same values on every layout.
  void initialize(std::uint64_t seed, Stream& stream) const;

 private:
  int bucket_for(const ParamSpec& spec);
  Tensor view(const Tensor& bucket, const Entry& entry) const;

  DType dtype_;
  std::vector<Entry> entries_;
  std::vector<ParamBucket> buckets_;
  int open_sharded_ = -1;
  int open_replicated_ = -1;
};

}  // namespace frugal
