#include "trainer/shard/shard_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace frugal {
namespace {

ParamSpec spec(const std::string& name, std::int64_t elements, bool sharded = false,
               ParamTie tie = ParamTie::kNone) {
  return {.name = name,
          .global = {elements},
          .local = {elements},
          .valid = {elements},
          .sharded = sharded,
          .tie = tie};
}

// Sizes below, at, just above and far above a block; three kinds of buckets; a tied pair of which
// the copy has no weights of its own.
ParamStore make_store() {
  ParamStore store(DType::kBF16);
  store.declare(spec("table", 5 * kParamBlock + 7, true, ParamTie::kOwner));
  for (const std::int64_t elements :
       {std::int64_t{1}, kParamBlock - 1, kParamBlock, kParamBlock + 1, 13 * kParamBlock + 5}) {
    store.declare(spec("sharded", elements, true));
    store.declare(spec("replicated", elements));
  }
  store.end_bucket_group();
  store.declare(spec("later", 3 * kParamBlock, true));
  store.declare(spec("table", 5 * kParamBlock + 7, true, ParamTie::kCopy));
  Arena counted = Arena::counting({});
  store.allocate(counted, counted);
  return store;
}

std::int64_t blocks(const ShardPiece& piece) {
  return (piece.end - piece.begin + kParamBlock - 1) / kParamBlock;
}

TEST(ShardPlan, CoversEveryElementExactlyOnce) {
  const ParamStore store = make_store();
  for (const int size : {1, 2, 3, 4, 7, 8, 64}) {
    SCOPED_TRACE(size);
    std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> ranges(
        static_cast<std::size_t>(store.size()));
    for (int rank = 0; rank < size; ++rank) {
      for (const ShardPiece& piece : make_shard_plan(store, rank, size, false)) {
        EXPECT_TRUE(piece.owned);
        EXPECT_LT(piece.begin, piece.end);
        EXPECT_EQ(piece.begin % kParamBlock, 0);
        ranges[static_cast<std::size_t>(piece.param)].emplace_back(piece.begin, piece.end);
      }
    }
    for (ParamId id = 0; id < store.size(); ++id) {
      auto& of_param = ranges[static_cast<std::size_t>(id)];
      std::sort(of_param.begin(), of_param.end());
      std::int64_t at = 0;
      for (const auto& [begin, end] : of_param) {
        EXPECT_EQ(begin, at) << store.entry(id).spec.name;
        at = end;
      }
      const bool copy = store.entry(id).tied_to >= 0;
      EXPECT_EQ(at, copy ? 0 : store.entry(id).spec.local.numel()) << store.entry(id).spec.name;
    }
  }
}

TEST(ShardPlan, IsBalancedToABlockInEachBucket) {
  const ParamStore store = make_store();
  const auto buckets = std::ranges::count_if(
      store.buckets(), [](const ParamBucket& bucket) { return bucket.owns_weights; });
  for (const int size : {2, 3, 4, 7, 8}) {
    std::int64_t least = 1 << 30, most = 0;
    for (int rank = 0; rank < size; ++rank) {
      std::int64_t sum = 0;
      for (const ShardPiece& piece : make_shard_plan(store, rank, size, false)) {
        sum += blocks(piece);
      }
      least = std::min(least, sum);
      most = std::max(most, sum);
    }
    EXPECT_LE(most - least, buckets) << size << " ranks";
  }
}

TEST(ShardPlan, WithoutZeroEveryRankUpdatesAllAndOwnsItsShare) {
  const ParamStore store = make_store();
  for (int rank = 0; rank < 3; ++rank) {
    std::vector<ShardPiece> owned;
    std::int64_t elements = 0, expected = 0;
    for (const ShardPiece& piece : make_shard_plan(store, rank, 3, true)) {
      elements += piece.end - piece.begin;
      if (piece.owned) owned.push_back(piece);
    }
    for (ParamId id = 0; id < store.size(); ++id) {
      if (store.entry(id).tied_to < 0) expected += store.entry(id).spec.local.numel();
    }
    EXPECT_EQ(elements, expected);
    const auto alone = make_shard_plan(store, rank, 3, false);
    EXPECT_TRUE(std::equal(owned.begin(), owned.end(), alone.begin(), alone.end(),
                           [](const ShardPiece& a, const ShardPiece& b) {
                             return a.param == b.param && a.begin == b.begin && a.end == b.end;
                           }));
  }
}

}  // namespace
}  // namespace frugal
