// Which elements of the parameters a data-parallel rank owns. A pure function of the store's
// layout: tested without a communicator.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/ordered_reduce.h"
#include "trainer/model/param_store.h"

namespace frugal {

// Elements [begin, end) of the flat local shape of one parameter. begin is a multiple of
// kParamBlock.
struct ShardPiece {
  ParamId param = -1;
  std::int64_t begin = 0, end = 0;
  bool owned = true;  // this rank reduces, saves and counts the piece; false for the replicas that
                      // ZeRO stage 0 updates
};

// The blocks of each bucket are dealt to the ranks of the data axis (rows_of_rank); the pieces are
// what that leaves of each parameter, in the order of buckets. all: also the pieces that other
// ranks own (ZeRO stage 0). Buckets without own weights and frozen
// ones give no piece.
std::vector<ShardPiece> make_shard_plan(const ParamStore& params, int rank, int size, bool all);

// Views of a piece in the store.
Tensor piece_weight(const ParamStore& params, const ShardPiece& piece);  // compute dtype
Tensor piece_grad(const ParamStore& params, const ShardPiece& piece);    // f32

}  // namespace frugal
