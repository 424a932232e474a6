#include "trainer/data/loader.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "tests/trainer/data/scratch.h"
#include "trainer/data/index_permutation.h"
#include "trainer/data/source_mix.h"
#include "trainer/data/token_shards.h"

namespace frugal {
namespace {

using Tokens = std::vector<std::int32_t>;

TEST(IndexPermutation, IsABijection) {
  for (const std::uint64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 1000, 4097, 70000}) {
    const IndexPermutation permutation(size, 42);
    std::vector<bool> seen(size);
    for (std::uint64_t i = 0; i < size; ++i) {
      const std::uint64_t to = permutation(i);
      ASSERT_LT(to, size);
      ASSERT_FALSE(seen[to]) << size;
      seen[to] = true;
    }
  }
}

TEST(IndexPermutation, ShufflesWellAndByItsKey) {
  const std::uint64_t size = 10007;
  const IndexPermutation one(size, 1);
  const IndexPermutation two(size, 2);
  // Of a random permutation: one fixed point, one neighbour kept, one agreement with another; and
  // no correlation of index and image (standard deviation 0.01).
  int fixed = 0;
  int neighbours = 0;
  int agree = 0;
  double correlation = 0.0;
  for (std::uint64_t i = 0; i < size; ++i) {
    fixed += one(i) == i;
    neighbours += one(i + 1 < size ? i + 1 : 0) == one(i) + 1;
    agree += one(i) == two(i);
    const double half = (static_cast<double>(size) - 1) / 2;
    correlation += (static_cast<double>(i) - half) * (static_cast<double>(one(i)) - half);
  }
  correlation /= std::pow(static_cast<double>(size), 3) / 12;
  EXPECT_LT(fixed, 8);
  EXPECT_LT(neighbours, 8);
  EXPECT_LT(agree, 8);
  EXPECT_LT(std::abs(correlation), 0.05);
}

TEST(SourceMix, CountsEverySampleOfASourceOnce) {
  const SourceMix mix(std::vector<double>{0.5, 3.0, 1.25, 0.01});
  std::vector<std::int64_t> next(4);
  for (std::int64_t n = 0; n < 20000; ++n) {
    const MixedSample sample = mix.sample(n);
    ASSERT_EQ(sample.index, next[sample.source]++) << n;
  }
}

TEST(SourceMix, APointOnABoundaryBelongsToTheNextSource) {
  const double step = 0x9E3779B9p0;  // where sample 1 falls, in units of 2^-32
  for (const int beyond : {0, 1}) {
    const SourceMix mix(std::vector<double>{step + beyond, 0x1p32 - step - beyond});
    EXPECT_EQ(mix.sample(0).source, 0);
    EXPECT_EQ(mix.sample(1).source, beyond == 0 ? 1 : 0);
    std::vector<std::int64_t> next(2);
    for (std::int64_t n = 0; n < 100; ++n) {
      const MixedSample sample = mix.sample(n);
      ASSERT_EQ(sample.index, next[sample.source]++) << n;
    }
  }
}

TEST(SourceMix, KeepsToTheWeightsAtAnyTime) {
  const std::vector<double> weights = {1.0, 2.0, 7.0};
  const SourceMix mix(weights);
  std::vector<double> counts(3);
  for (std::int64_t n = 1; n <= 50000; ++n) {
    counts[mix.sample(n - 1).source] += 1;
    for (int i = 0; i < 3; ++i) {
      ASSERT_NEAR(counts[i], static_cast<double>(n) * weights[i] / 10.0, 4.0) << n;
    }
  }
}

TEST(SourceMix, GoesOnBeyondItsCycle) {
  const SourceMix mix(std::vector<double>{1.0, 2.0});
  const std::int64_t cycle = std::int64_t{1} << 32;
  std::int64_t at_cycle[2] = {};
  for (std::int64_t n = cycle; n < cycle + 10; ++n) {
    const auto [source, index] = mix.sample(n);
    if (at_cycle[source]++ == 0) {
      EXPECT_NEAR(static_cast<double>(index), static_cast<double>(cycle) * (source + 1) / 3.0, 2.0);
    }
    EXPECT_EQ(mix.sample(n).source, mix.sample(n - cycle).source);
    EXPECT_EQ(mix.sample(n + cycle).index - index, index - mix.sample(n - cycle).index);
  }
}

TEST(SourceMix, RefusesImpossibleWeights) {
  for (const double weight : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    expect_has(error_of(ErrorKind::kUsage,
                        [&] {
                          SourceMix(std::vector<double>{1.0, weight});
                        }),
               "expected a positive number");
  }
  expect_has(error_of(ErrorKind::kUsage,
                      [] {
                        SourceMix(std::vector<double>{1.0, 1e-12});
                      }),
             "too small");
}

// Two folders of shards: documents of a few words, of numbers only in b.
class LoaderTest : public testing::Test {
 protected:
  LoaderTest() {
    std::string a;
    std::string b;
    for (int i = 0; i < 150; ++i) {
      a += "And he said unto them, verily" + std::string(i % 7, '!') + "<|endoftext|>";
      b += std::to_string(i * i) + (i % 50 == 49 ? "<|endoftext|>" : " ");
    }
    build("a", a);
    build("b", b);
    options_.sources = {{dir_ / "a/train", 3.0}, {dir_ / "b/train", 1.0}};
    options_.vocab_size = 640;
    options_.micro_batch_size = 2;
    options_.microbatches_per_step = 4;
    options_.sequence_length = 16;
  }
  void build(const std::string& name, const std::string& text) {
    DataBuildOptions options;
    options.output_dir = dir_ / name;
    options.validation_fraction = 0.0;
    options.shard_tokens = 500;
    build_token_shards(std::vector{dir_.write(name + ".txt", text)}, Tokenizer::load(golden_dir()),
                       options);
  }
  std::string refusal() const {
    return error_of(ErrorKind::kData, [&] { make_loader(options_); });
  }

  ScratchDir dir_;
  LoaderOptions options_;
};

TEST_F(LoaderTest, InOrderItReadsTheText) {
  options_.sources.resize(1);
  options_.shuffle = false;
  const auto loader = make_loader(options_);
  const TokenShards shards = TokenShards::open(dir_ / "a/train");
  ASSERT_EQ(loader->sequences(), (shards.tokens() - 1) / 16);
  Tokens all(shards.tokens());
  shards.read(0, all);
  for (std::int64_t n = 0; n < loader->sequences() + 5; n += 2) {
    const Batch batch = loader->microbatch(n / 8, static_cast<int>(n / 2 % 4));
    ASSERT_EQ(batch.inputs.size(), 32U);
    EXPECT_TRUE(batch.document_start.empty());
    EXPECT_EQ(batch.target_tokens, 32);
    for (int i = 0; i < 32; ++i) {
      const std::int64_t at = (n + i / 16) % loader->sequences() * 16 + i % 16;
      ASSERT_EQ(batch.inputs[i], all[at]) << n;
      ASSERT_EQ(batch.targets[i], all[at + 1]) << n;
    }
  }
}

TEST_F(LoaderTest, AnEpochHasEverySequenceOnceInANewOrder) {
  options_.sources.resize(1);
  options_.micro_batch_size = 1;
  options_.microbatches_per_step = 1;
  const auto loader = make_loader(options_);
  const std::int64_t sequences = loader->sequences();
  std::vector<Tokens> first;
  std::vector<Tokens> second;
  for (std::int64_t n = 0; n < sequences; ++n) {
    first.push_back(loader->microbatch(n, 0).inputs);
    second.push_back(loader->microbatch(sequences + n, 0).inputs);
  }
  EXPECT_NE(first, second);
  EXPECT_EQ(std::multiset(first.begin(), first.end()), std::multiset(second.begin(), second.end()));
  options_.shuffle = false;
  const auto in_order = make_loader(options_);
  std::multiset<Tokens> sorted;
  for (std::int64_t n = 0; n < sequences; ++n) sorted.insert(in_order->microbatch(n, 0).inputs);
  EXPECT_EQ(std::multiset(first.begin(), first.end()), sorted);

  options_.shuffle = true;
  options_.seed = 2;
  EXPECT_NE(make_loader(options_)->microbatch(0, 0).inputs, first[0]);
}

TEST_F(LoaderTest, TheSameSequencesOnAnyLayout) {
  const auto loader = make_loader(options_);
  Tokens reference;
  for (int step = 0; step < 3; ++step) {
    for (int i = 0; i < 4; ++i) {
      const Batch batch = loader->microbatch(step, i);
      reference.insert(reference.end(), batch.inputs.begin(), batch.inputs.end());
    }
  }
  // Other micro-batch sizes, another order of calls, another loader.
  for (const auto& [size, count] : {std::pair{1, 8}, {8, 1}, {4, 2}}) {
    options_.micro_batch_size = size;
    options_.microbatches_per_step = count;
    const auto other = make_loader(options_);
    EXPECT_EQ(other->digest(), loader->digest());
    const int tokens = size * 16;
    for (int n = 3 * count - 1; n >= 0; --n) {
      const Batch batch = other->microbatch(n / count, n % count);
      EXPECT_TRUE(std::equal(batch.inputs.begin(), batch.inputs.end(),
                             reference.begin() + std::ptrdiff_t{n} * tokens));
    }
  }
}

TEST_F(LoaderTest, WeightsAreRespected) {
  const auto loader = make_loader(options_);
  const Tokenizer tokenizer = Tokenizer::load(golden_dir());
  int of_b = 0;
  for (int step = 0; step < 100; ++step) {
    for (int i = 0; i < 4; ++i) {
      const Batch batch = loader->microbatch(step, i);
      for (int row = 0; row < 2; ++row) {
        const std::string text =
            tokenizer.decode(std::span(batch.inputs).subspan(std::size_t{16} * row, 16));
        of_b += text.find_first_of("0123456789") != std::string::npos;
      }
    }
  }
  EXPECT_NEAR(of_b, 200, 4);
}

TEST_F(LoaderTest, DocumentMask) {
  options_.document_mask = true;
  options_.token_bytes.assign(640, 2);
  options_.token_bytes[639] = 0;
  const auto masked = make_loader(options_);
  options_.document_mask = false;
  const auto plain = make_loader(options_);
  int ignored = 0;
  for (int i = 0; i < 40; ++i) {
    const Batch with = masked->microbatch(i, i % 4);
    const Batch without = plain->microbatch(i, i % 4);
    ASSERT_EQ(with.inputs, without.inputs);
    ASSERT_EQ(with.document_start.size(), 32U);
    std::int64_t counted = 0;
    std::int64_t bytes = 0;
    for (int at = 0; at < 32; ++at) {
      const bool starts = at % 16 == 0 || with.inputs[at - 1] == 639;
      const int expected = at % 16 == 0 ? 0 : starts ? at % 16 : with.document_start[at - 1];
      ASSERT_EQ(with.document_start[at], expected) << at;
      const bool crosses = with.inputs[at] == 639;
      ASSERT_EQ(with.targets[at], crosses ? -1 : without.targets[at]);
      ignored += crosses;
      counted += !crosses;
      if (!crosses) bytes += with.targets[at] == 639 ? 0 : 2;
    }
    EXPECT_EQ(with.target_tokens, counted);
    EXPECT_EQ(with.target_bytes, bytes);
  }
  EXPECT_GT(ignored, 20);
}

TEST_F(LoaderTest, DigestNamesShardsAndWeights) {
  const std::string digest = make_loader(options_)->digest();
  options_.sources[0].weight = 2.0;
  EXPECT_NE(make_loader(options_)->digest(), digest);
  options_.sources[0].weight = 3.0;
  EXPECT_EQ(make_loader(options_)->digest(), digest);
  std::filesystem::remove_all(dir_ / "b");
  build("b", std::string(200, 'x'));
  EXPECT_NE(make_loader(options_)->digest(), digest);
}

TEST_F(LoaderTest, RefusesWithAReason) {
  const LoaderOptions good = options_;
  options_.tokenizer_digest = Tokenizer::load(golden_dir()).digest();
  make_loader(options_);
  options_.tokenizer_digest.back() ^= 1;
  expect_has(refusal(), "a/train: made with another tokenizer");
  options_ = good;
  options_.vocab_size = 639;
  expect_has(refusal(), "the model's is 639");
  options_ = good;
  options_.sequence_length = 1'000'000;
  expect_has(refusal(), "too few for one sequence of 1000000");
  options_ = good;
  options_.sources[1].path = dir_ / "none";
  expect_has(refusal(), "no token shards here");
  options_.sources.clear();
  EXPECT_NE(error_of(ErrorKind::kUsage, [&] { make_loader(options_); }), "");
}

}  // namespace
}  // namespace frugal
