#include "comm/ordered_reduce.h"

#include <algorithm>
#include <vector>

#include "kernels/ops/elementwise.h"

namespace frugal {

RowRange rows_of_rank(std::int64_t rows, int rank, int size) {
  const std::int64_t share = rows / size;
  const std::int64_t more = rows % size;  // the first ranks own one row more
  const std::int64_t begin = rank * share + std::min<std::int64_t>(rank, more);
  return {begin, begin + share + (rank < more ? 1 : 0)};
}

void ordered_reduce_scatter(ProcessGroup& group, Tensor part_PC, ConstTensor full_RC,
                            Tensor scratch_SC, Stream& stream) {
  const int size = group.size();
  const std::int64_t own = rows_of_rank(full_RC.shape[0], group.rank(), size).rows();
  FRUGAL_CHECK(part_PC.shape[0] == own && scratch_SC.shape[0] == size * own,
               "ordered_reduce_scatter of ", to_string(full_RC.shape), " into ",
               to_string(part_PC.shape), " with ", to_string(scratch_SC.shape));
  std::vector<std::int64_t> send_rows;
  for (int rank = 0; rank < size; ++rank)
    send_rows.push_back(rows_of_rank(full_RC.shape[0], rank, size).rows());
  const std::vector<std::int64_t> recv_rows(static_cast<std::size_t>(size), own);
  group.all_to_all(full_RC, scratch_SC, send_rows, recv_rows, stream);
  const std::int64_t elements = part_PC.numel();
  ops::tree_sum(stream, part_PC.reshape({elements}),
                ConstTensor(scratch_SC).reshape({size, elements}));
}

void gather_rows(ProcessGroup& group, ConstTensor part_PC, Tensor full_RC, Stream& stream) {
  const int size = group.size();
  const RowRange own = rows_of_rank(full_RC.shape[0], group.rank(), size);
  FRUGAL_CHECK(part_PC.shape[0] == own.rows(), "gather_rows of ", to_string(part_PC.shape),
               " into ", to_string(full_RC.shape));
  // Everybody sends its part to everybody: an all-to-all cannot repeat a piece, so this is an
  // exchange.
  const std::int64_t row = full_RC.shape[0] == 0 ? 0 : full_RC.numel() / full_RC.shape[0];
  Tensor full = full_RC.reshape({full_RC.shape[0], row});
  const Tensor mine = full.slice(own.begin, own.end);
  if (part_PC.data != mine.data) ops::cast(stream, mine, part_PC.reshape({own.rows(), row}));
  std::vector<PeerTransfer> transfers;
  for (int peer = 0; peer < size; ++peer) {
    if (peer == group.rank()) continue;
    const RowRange theirs = rows_of_rank(full_RC.shape[0], peer, size);
    transfers.push_back({PeerTransfer::Kind::kSend, mine, peer});
    transfers.push_back({PeerTransfer::Kind::kRecv, full.slice(theirs.begin, theirs.end), peer});
  }
  group.exchange(transfers, stream);
}

}  // namespace frugal
