#include "trainer/model/param_store.h"

#include "kernels/core/rng.h"
#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

constexpr std::uint64_t kInitPurpose = 1;  // rng_key: initial weights

}  // namespace

std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

int ParamStore::bucket_for(const ParamSpec& spec) {
  const bool trained = spec.adapter || !frozen_base_;
  int* open = &open_.at((trained ? 2U : 0U) + (spec.sharded ? 1U : 0U));
  const bool alone = spec.tie != ParamTie::kNone;
  if (alone || *open < 0 || buckets_[static_cast<std::size_t>(*open)].blocks >= kBucketBlocks) {
    buckets_.push_back(
        {.params = {}, .replicated = !spec.sharded, .tie = spec.tie, .trained = trained});
    const int index = static_cast<int>(buckets_.size()) - 1;
    if (alone) return index;
    *open = index;
  }
  return *open;
}

ParamId ParamStore::declare(const ParamSpec& spec) {
  const auto id = static_cast<ParamId>(entries_.size());
  Entry entry{.spec = spec};
  entry.bucket = bucket_for(spec);
  ParamBucket& bucket = buckets_[static_cast<std::size_t>(entry.bucket)];
  entry.block = bucket.blocks;
  entry.blocks = (spec.local.numel() + kParamBlock - 1) / kParamBlock;
  bucket.blocks += entry.blocks;
  bucket.params.push_back(id);
  if (spec.tie == ParamTie::kCopy) {
    for (ParamId other = 0; other < id; ++other) {
      if (entries_[static_cast<std::size_t>(other)].spec.name == spec.name) entry.tied_to = other;
    }
    bucket.owns_weights = entry.tied_to < 0;
  }
  entries_.push_back(std::move(entry));
  return id;
}

void ParamStore::allocate(Arena& weights, Arena& grads) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    ParamBucket& bucket = buckets_[i];
    const Shape shape{bucket.blocks, kParamBlock};
    if (bucket.owns_weights) {
      bucket.weights = weights.allocate(concat("weights of bucket ", i), shape, dtype_);
    }
    if (bucket.trained) {
      bucket.grads = grads.allocate(concat("gradients of bucket ", i), shape, DType::kF32);
    }
  }
}

ParamId ParamStore::find(std::string_view name) const {
  ParamId id = 0;
  while (id < size() && entry(id).spec.name != name) ++id;
  FRUGAL_CHECK(id < size(), "no parameter ", name);
  return id;
}

Tensor ParamStore::view(const Tensor& bucket, const Entry& entry) const {
  Tensor out = bucket.slice(entry.block, entry.block + entry.blocks);
  out.shape = entry.spec.local;  // the tail of the last block stays zero
  return out;
}

Tensor ParamStore::weight(ParamId id) const {
  const Entry& own = entry(id);
  const Entry& holder = own.tied_to >= 0 ? entry(own.tied_to) : own;
  return view(buckets_[static_cast<std::size_t>(holder.bucket)].weights, holder);
}

Tensor ParamStore::grad(ParamId id) const {
  return view(buckets_[static_cast<std::size_t>(entry(id).bucket)].grads, entry(id));
}

void ParamStore::initialize(std::uint64_t seed, Stream& stream, bool only_trained) const {
  for (ParamId id = 0; id < size(); ++id) {
    const ParamSpec& spec = entry(id).spec;
    if (only_trained && !trained(id)) continue;
    if (entry(id).tied_to >= 0 || spec.valid.numel() == 0) continue;
    Tensor valid = weight(id).slice(0, spec.valid[0]);
    switch (spec.init.kind) {
      case ParamInit::Kind::kZero:
        ops::fill(stream, valid, 0.0F);
        break;
      case ParamInit::Kind::kOne:
        ops::fill(stream, valid, 1.0F);
        break;
      case ParamInit::Kind::kNormal: {
        const std::int64_t columns = spec.local.rank == 2 ? spec.local[1] : 1;
        ops::normal_fill(stream, {.out_RC = valid.reshape({valid.numel() / columns, columns}),
                                  .key = rng_key(seed, kInitPurpose, hash_of(spec.name)),
                                  .row_begin = spec.offset[0],
                                  .column_begin = spec.offset[1],
                                  .global_columns = spec.global.rank == 2 ? spec.global[1] : 1,
                                  .mean = 0.0F,
                                  .stddev = spec.init.stddev});
      }
    }
  }
}

}  // namespace frugal
