// Sums over ranks whose order, and so whose bits, do not depend on how many ranks share the work
// (determinism D2).
#pragma once

#include <cstdint>

#include "comm/process_group.h"

namespace frugal {

// How n rows are dealt to `size` ranks in contiguous parts: rank r owns rows [begin, end). The
// first n % size ranks own one more.
struct RowRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t rows() const { return end - begin; }
};
RowRange rows_of_rank(std::int64_t rows, int rank, int size);

// part = this rank's rows (rows_of_rank) of the sum over ranks of full_RC, summed along
// ops::tree_sum in rank order. Every rank's full_RC is the tree sum of its own lanes, so that with
// a power of two of lanes per rank the whole is one binary tree over all lanes, whatever the number
// of ranks.
//   part_PC      f32, [own rows, C], written (=); may be the own rows of full_RC
//   full_RC      f32, [R, C], this rank's summand; not changed unless part aliases it
//   scratch_SC   f32, [size * own rows, C]: where the peers' pieces arrive
// An all-to-all of pieces and a local sum: the volume of a ring reduce-scatter, and no arithmetic
// in the transport. Asynchronous: everything is enqueued on stream; scratch is free again when the
// stream has passed it.
void ordered_reduce_scatter(ProcessGroup& group, Tensor part_PC, ConstTensor full_RC,
                            Tensor scratch_SC, Stream& stream);

// The inverse of the dealing: full_RC (=) from every rank's own rows, any dtype; part_PC may be the
// own rows of full_RC.
void gather_rows(ProcessGroup& group, ConstTensor part_PC, Tensor full_RC, Stream& stream);

}  // namespace frugal
