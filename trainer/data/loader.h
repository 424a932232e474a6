// The order of training: a pure function of its arguments. Resuming is calling it with the next
// step.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace frugal {

// One micro-batch of B sequences of S tokens, one after the other.
struct Batch {
  std::vector<std::int32_t> inputs;          // [B * S]
  std::vector<std::int32_t> targets;         // [B * S]: the token after each input; -1 is ignored
  std::vector<std::int32_t> document_start;  // [B * S]: position within its sequence where the
                                             // token's document starts; empty without document
                                             // mask. A token's position in its document is its
                                             // position less that
  std::int64_t target_tokens = 0;            // targets that are not ignored
  std::int64_t target_bytes = 0;             // bytes of text that those targets stand for
};

struct LoaderSource {
  std::string path;
  double weight = 1.0;
};

struct LoaderOptions {
  std::vector<LoaderSource> sources;
  std::string tokenizer_digest;  // the shards must carry it; empty: not checked
  std::vector<int> token_bytes;  // bytes each id stands for; empty: target_bytes stays 0
  int vocab_size = 0;            // the model's
  int micro_batch_size = 1;
  int microbatches_per_step = 1;  // over all data-parallel ranks
  int sequence_length = 128;
  bool document_mask = false;
  bool shuffle = true;  // false: in order (validation)
  std::uint64_t seed = 1;
};

// Thread-safe. Never ends: after all sequences of a source comes its next epoch, shuffled anew by a
// format-preserving permutation of the index (no index in memory).
class DataLoader {
 public:
  virtual ~DataLoader() = default;
  // Micro-batch global_index (0 .. microbatches_per_step - 1) of a step: the same on every layout.
  virtual Batch microbatch(std::int64_t step, int global_index) const = 0;
  virtual const std::string& digest() const = 0;  // of sources, weights and their shards
  virtual std::int64_t sequences() const = 0;     // in one epoch of all sources
};

// Throws Error(kData): missing or truncated shard, token id beyond the vocabulary, tokenizer that
// does not belong to the shards, too few tokens for one sequence, conversations packed for another
// sequence_length or without document_mask. Of conversations only answers are targets.
std::unique_ptr<DataLoader> make_loader(const LoaderOptions& options);

}  // namespace frugal
