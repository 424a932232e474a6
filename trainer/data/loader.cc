#include "trainer/data/loader.h"

#include <algorithm>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/rng.h"
#include "trainer/data/checksum.h"
#include "trainer/data/index_permutation.h"
#include "trainer/data/source_mix.h"
#include "trainer/data/token_shards.h"

namespace frugal {
namespace {

constexpr std::uint64_t kShufflePurpose = 0x73687566;  // "shuf": no other key is made with it

TokenShards open_source(const LoaderSource& source, const LoaderOptions& options) {
  TokenShards shards = TokenShards::open(source.path);
  if (!options.tokenizer_digest.empty() && shards.tokenizer_digest() != options.tokenizer_digest) {
    fail(ErrorKind::kData, source.path, ": made with another tokenizer (digest ",
         shards.tokenizer_digest(), ") than the run's (", options.tokenizer_digest,
         "): build the data again with 'frugal data build'");
  }
  if (shards.vocab_size() > options.vocab_size) {
    fail(ErrorKind::kData, source.path, ": made with a vocabulary of ", shards.vocab_size(),
         " tokens, but the model's is ", options.vocab_size,
         ": set model.vocab_size to auto or to at least that");
  }
  if (shards.packed_length() > 0 && shards.packed_length() != options.sequence_length) {
    fail(ErrorKind::kData, source.path, ": packed for sequences of ", shards.packed_length(),
         " tokens: set data.sequence_length to that, or build the data again with "
         "--sequence-length ",
         options.sequence_length);
  }
  if (shards.packed_length() > 0 && !options.document_mask) {
    fail(ErrorKind::kData, source.path,
         ": several conversations are packed into a sequence: set data.document_mask to true");
  }
  if (shards.tokens() <= options.sequence_length) {
    fail(ErrorKind::kData, source.path, ": ", shards.tokens(),
         " tokens are too few for one sequence of ", options.sequence_length,
         " and its last target: give more text or a smaller data.sequence_length");
  }
  FRUGAL_CHECK(options.token_bytes.empty() ||
               std::cmp_greater_equal(options.token_bytes.size(), shards.vocab_size()));
  return shards;
}

std::vector<double> weights_of(std::span<const LoaderSource> sources) {
  std::vector<double> weights;
  for (const LoaderSource& source : sources) weights.push_back(source.weight);
  return weights;
}

class ShardLoader : public DataLoader {
 public:
  explicit ShardLoader(const LoaderOptions& options)
      : options_(options), mix_(weights_of(options.sources)) {
    Checksummer sum;
    for (const LoaderSource& source : options.sources) {
      const TokenShards& shards = sources_.emplace_back(open_source(source, options));
      sum.add_text(shards.digest());
      sum.add_value(source.weight);
      sequences_ += sequences_of(shards);
    }
    digest_ = to_hex(sum.result());
  }

  Batch microbatch(std::int64_t step, int global_index) const override {
    FRUGAL_CHECK(step >= 0 && global_index >= 0 && global_index < options_.microbatches_per_step,
                 "micro-batch ", global_index, " of step ", step);
    const std::int64_t first = (step * options_.microbatches_per_step + global_index) *
                               std::int64_t{options_.micro_batch_size};
    Batch batch;
    std::vector<std::int32_t> row(static_cast<std::size_t>(options_.sequence_length) + 1);
    for (int i = 0; i < options_.micro_batch_size; ++i) append_sequence(first + i, row, batch);
    for (const std::int32_t target : batch.targets) {
      if (target < 0) continue;
      ++batch.target_tokens;
      if (!options_.token_bytes.empty()) batch.target_bytes += options_.token_bytes[target];
    }
    return batch;
  }

  const std::string& digest() const override { return digest_; }
  std::int64_t sequences() const override { return sequences_; }

 private:
  std::int64_t sequences_of(const TokenShards& shards) const {
    return (shards.tokens() - 1) / options_.sequence_length;
  }

  // Sequence n of the run. `row` is scratch of S + 1 tokens.
  void append_sequence(std::int64_t n, std::span<std::int32_t> row, Batch& batch) const {
    const auto [source, index] = mix_.sample(n);
    const TokenShards& shards = sources_[source];
    const std::int64_t count = sequences_of(shards);
    std::int64_t sequence = index % count;
    if (options_.shuffle) {
      const std::uint64_t key = rng_key(options_.seed, kShufflePurpose, source, index / count);
      sequence = static_cast<std::int64_t>(IndexPermutation(count, key)(sequence));
    }
    const std::int64_t begin = sequence * options_.sequence_length;
    shards.read(begin, row);
    batch.inputs.insert(batch.inputs.end(), row.begin(), row.end() - 1);
    batch.targets.insert(batch.targets.end(), row.begin() + 1, row.end());
    if (options_.document_mask) append_document_starts(shards, begin, batch);
    if (shards.packed_length() > 0) ignore_unlearned(shards, begin, batch);
  }

  void ignore_unlearned(const TokenShards& shards, std::int64_t begin, Batch& batch) const {
    std::vector<bool> learned(static_cast<std::size_t>(options_.sequence_length));
    shards.read_learned(begin + 1, learned);
    const std::size_t row = batch.targets.size() - learned.size();
    for (std::size_t i = 0; i < learned.size(); ++i) {
      if (!learned[i]) batch.targets[row + i] = -1;
    }
  }

  // Also ignores targets of another document than their input: nothing there foretells them.
  void append_document_starts(const TokenShards& shards, std::int64_t begin, Batch& batch) const {
    const std::int64_t length = options_.sequence_length;
    const std::size_t row = batch.document_start.size();
    batch.document_start.resize(row + length);
    std::int64_t end = length + 1;  // of the document, as a position in the S + 1 tokens
    while (end > 0) {
      const std::int64_t start =
          std::max<std::int64_t>(shards.document_begin(begin + end - 1) - begin, 0);
      std::fill(batch.document_start.begin() + row + std::min(start, length),
                batch.document_start.begin() + row + std::min(end, length),
                static_cast<std::int32_t>(start));
      if (start > 0) batch.targets[row + start - 1] = -1;
      end = start;
    }
  }

  LoaderOptions options_;
  SourceMix mix_;
  std::vector<TokenShards> sources_;
  std::string digest_;
  std::int64_t sequences_ = 0;
};

}  // namespace

std::unique_ptr<DataLoader> make_loader(const LoaderOptions& options) {
  FRUGAL_CHECK(options.micro_batch_size > 0 && options.microbatches_per_step > 0 &&
               options.sequence_length > 0);
  if (options.sources.empty()) {
    fail(ErrorKind::kUsage, "data: no source is given: name at least one folder of token shards");
  }
  return std::make_unique<ShardLoader>(options);
}

}  // namespace frugal
