#include "trainer/shard/shard_plan.h"

#include <algorithm>

namespace frugal {
namespace {

// The part of a parameter that lies in rows [rows.begin, rows.end) of its bucket; empty when begin
// >= end.
ShardPiece piece_in_rows(const ParamStore& params, ParamId id, RowRange rows) {
  const auto& entry = params.entry(id);
  const std::int64_t first = std::max<std::int64_t>(rows.begin - entry.block, 0);
  const std::int64_t last = std::min<std::int64_t>(rows.end - entry.block, entry.blocks);
  return {.param = id,
          .begin = first * kParamBlock,
          .end = std::min(last * kParamBlock, entry.spec.local.numel())};
}

Tensor flat_slice(const Tensor& t, const ShardPiece& piece) {
  return t.reshape({t.numel()}).slice(piece.begin, piece.end);
}

}  // namespace

std::vector<ShardPiece> make_shard_plan(const ParamStore& params, int rank, int size, bool all) {
  std::vector<ShardPiece> out;
  for (const ParamBucket& bucket : params.buckets()) {
    if (!bucket.owns_weights || !bucket.trained) continue;
    for (int owner = 0; owner < size; ++owner) {
      if (owner != rank && !all) continue;
      const RowRange rows = rows_of_rank(bucket.blocks, owner, size);
      for (const ParamId id : bucket.params) {
        ShardPiece piece = piece_in_rows(params, id, rows);
        piece.owned = owner == rank;
        if (piece.begin < piece.end) out.push_back(piece);
      }
    }
  }
  return out;
}

Tensor piece_weight(const ParamStore& params, const ShardPiece& piece) {
  return flat_slice(params.weight(piece.param), piece);
}

Tensor piece_grad(const ParamStore& params, const ShardPiece& piece) {
  return flat_slice(params.grad(piece.param), piece);
}

}  // namespace frugal
