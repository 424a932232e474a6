#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/device_mesh.h"
#include "comm/host_group.h"
#include "comm/ordered_reduce.h"
#include "comm/world.h"
#include "kernels/ops/elementwise.h"
#include "tests/comm/conformance.h"
#include "tests/support/tensors.h"

namespace frugal::test {
namespace {

TEST(ThreadGroup, Conformance) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const StreamMode mode : {StreamMode::kInline, StreamMode::kThreaded}) {
      SCOPED_TRACE(ranks);
      ASSERT_NO_THROW(run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
        check_conformance(*world, {.mode = mode});
      }));
    }
  }
}

// Before anything is exchanged, so that nobody waits for the rank that was refused.
TEST(ThreadGroup, ADevicesMemoryIsRefused) {
  run_ranks_as_threads(2, [&](std::unique_ptr<ProcessGroup> world) {
    const Device gpu{DeviceType::kCuda, 0};
    const auto stream = make_stream({}, "test");
    const Tensor x{nullptr, {4}, DType::kF32, gpu}, all{nullptr, {8}, DType::kF32, gpu};
    const std::vector<PeerTransfer> transfers{{PeerTransfer::Kind::kSend, x, 1 - world->rank()}};
    const std::vector<std::int64_t> rows(2, 2);
    const std::vector<std::function<void()>> calls{
        [&] { world->all_reduce(x, ReduceOp::kSum, *stream); },
        [&] { world->all_gather(x, all, *stream); },
        [&] { world->reduce_scatter(all, x, ReduceOp::kSum, *stream); },
        [&] { world->all_to_all(x, x, rows, rows, *stream); },
        [&] { world->broadcast(x, 0, *stream); },
        [&] { world->exchange(transfers, *stream); }};
    for (const auto& call : calls) {
      try {
        call();
        throw std::runtime_error("accepted");
      } catch (const Error& error) {
        if (std::string_view(error.what()).find("lies on a GPU") == std::string_view::npos) throw;
      }
    }
  });
}

TEST(ThreadGroup, AFailingRankWakesTheOthers) {
  try {
    run_ranks_as_threads(3, [](std::unique_ptr<ProcessGroup> world) {
      if (world->rank() == 1) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        throw std::runtime_error("rank 1 is broken");
      }
      const auto stream = make_stream({}, "test", StreamMode::kThreaded);
      const auto pair = world->split(world->rank() == 2 ? 1 : 0, 0);
      const Owned x = zeros({10}, DType::kF32);
      world->all_reduce(x, ReduceOp::kSum, *stream);
      stream->synchronize();
    });
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "rank 1 is broken");
  }
}

TEST(ThreadGroup, AFailingRankLeavesNoStreamOfItsOwnWaiting) {
  try {
    run_ranks_as_threads(2, [](std::unique_ptr<ProcessGroup> world) {
      const auto pair = world->split(0, world->rank());
      const Owned x = zeros({10}, DType::kF32);
      if (world->rank() == 1) {
        world->host_barrier();
        return;
      }
      const auto stream = make_stream({}, "test", StreamMode::kThreaded);
      const PeerTransfer never[] = {{PeerTransfer::Kind::kRecv, x, 1}};
      pair->exchange(never, *stream);
      const std::runtime_error broken("rank 0 is broken");
      world->abort(std::make_exception_ptr(broken));
      throw broken;  // the stream's end waits for the receive
    });
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "rank 0 is broken");
  }
}

// The definition, one element at a time: the left part is the largest power of two smaller than the
// whole.
float plain_tree(const Owned& rows_RC, std::int64_t begin, std::int64_t end, std::int64_t column) {
  if (end - begin == 1) return rows_RC.at(begin * rows_RC.get().shape[1] + column);
  std::int64_t left = 1;
  while (2 * left < end - begin) left *= 2;
  return plain_tree(rows_RC, begin, begin + left, column) +
         plain_tree(rows_RC, begin + left, end, column);
}

TEST(OrderedReduce, IsTheSequentialTree) {
  constexpr std::int64_t kRows = 7, kColumns = 3;
  for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8}) {
    const Owned all = random_tensor({ranks, kRows * kColumns}, DType::kF32, 5, 1e3F);
    const Owned result({kRows, kColumns}, DType::kF32);
    run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
      const auto stream = make_stream({}, "test");
      const int rank = world->rank();
      const RowRange own = rows_of_rank(kRows, rank, ranks);
      const Owned scratch({ranks * own.rows(), kColumns}, DType::kF32);
      ordered_reduce_scatter(*world, result.get().slice(own.begin, own.end),
                             all.get().slice(rank, rank + 1).reshape({kRows, kColumns}), scratch,
                             *stream);
      stream->synchronize();
    });
    for (std::int64_t i = 0; i < kRows * kColumns; ++i) {
      EXPECT_EQ(result.at(i), plain_tree(all, 0, ranks, i)) << ranks << " ranks, element " << i;
    }
  }
}

using std::chrono::milliseconds;

PeerTransfer one_way(PeerTransfer::Kind kind, const Owned& buffer, int peer) {
  return {kind, buffer, peer};
}

// What an exchange of these transfers throws, as text; empty when it succeeds.
std::string failure_of(ProcessGroup& group, const std::vector<PeerTransfer>& transfers) {
  try {
    group.exchange(transfers, *make_stream({}, "test"));
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

// Rank 0 stops waiting because rank 2 fails. Rank 1 comes too late and must not find what rank 0
// had posted: it is gone from rank 0's stack.
TEST(ThreadGroup, ALateRankDoesNotMeetAWaiterThatWasWoken) {
  std::string late;
  const Owned received = zeros({64}, DType::kF32);
  EXPECT_ANY_THROW(run_ranks_as_threads(3, [&](std::unique_ptr<ProcessGroup> world) {
    if (world->rank() == 2) {
      std::this_thread::sleep_for(milliseconds(50));
      throw std::runtime_error("rank 2 is broken");
    }
    if (world->rank() == 0) {
      failure_of(*world, {one_way(PeerTransfer::Kind::kRecv, received, 1)});
      return;
    }
    std::this_thread::sleep_for(milliseconds(200));
    const Owned sent = random_tensor({64}, DType::kF32, 1);
    late = failure_of(*world, {one_way(PeerTransfer::Kind::kSend, sent, 0)});
  }));
  EXPECT_NE(late.find("another rank has failed"), std::string::npos) << late;
  EXPECT_EQ(received.bits(), zeros({64}, DType::kF32).bits());
}

// Rank 1 posts a receive from rank 2, then fails: its send does not fit rank 0's receive. Rank 2
// must not find the receive.
TEST(ThreadGroup, ACallThatFailsTakesBackWhatItPosted) {
  std::string mismatch, orphan;
  EXPECT_ANY_THROW(run_ranks_as_threads(3, [&](std::unique_ptr<ProcessGroup> world) {
    const Owned small = zeros({4}, DType::kF32), large = zeros({64}, DType::kF32);
    if (world->rank() == 0) {
      failure_of(*world, {one_way(PeerTransfer::Kind::kRecv, large, 1)});
    } else if (world->rank() == 1) {
      std::this_thread::sleep_for(milliseconds(50));
      mismatch = failure_of(*world, {one_way(PeerTransfer::Kind::kRecv, large, 2),
                                     one_way(PeerTransfer::Kind::kSend, small, 0)});
      std::this_thread::sleep_for(milliseconds(200));
      throw std::runtime_error("rank 1 is broken");
    } else {
      std::this_thread::sleep_for(milliseconds(150));
      orphan = failure_of(*world, {one_way(PeerTransfer::Kind::kSend, large, 1)});
    }
  }));
  EXPECT_NE(mismatch.find("a send of 16 bytes meets a receive of 256"), std::string::npos);
  EXPECT_NE(orphan.find("another rank has failed"), std::string::npos) << orphan;
}

// Passes every transfer on to another group and counts what it sends.
class CountingGroup final : public HostGroup {
 public:
  CountingGroup(ProcessGroup& inner, std::atomic<int>& sends) : inner_(inner), sends_(sends) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void host_barrier() override { inner_.host_barrier(); }
  std::unique_ptr<ProcessGroup> split(int color, int key) override {
    return inner_.split(color, key);
  }

 protected:
  void move(std::span<const PeerTransfer> transfers, const char*) override {
    sends_ += static_cast<int>(
        std::ranges::count(transfers, PeerTransfer::Kind::kSend, &PeerTransfer::kind));
    inner_.exchange(transfers, *make_stream({}, "inner"));
  }

 private:
  ProcessGroup& inner_;
  std::atomic<int>& sends_;
};

TEST(CollectiveGroup, ASmallSumTakesFewMessages) {
  const std::array<std::pair<int, int>, 5> ranks_and_messages{
      {{2, 2}, {3, 2 + 2}, {4, 4 * 2}, {5, 4 + 4}, {8, 8 * 3}}};
  for (const auto& [ranks, messages] : ranks_and_messages) {
    std::atomic<int> sends = 0;
    run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
      CountingGroup counting(*world, sends);
      const Owned x = zeros({100}, DType::kF32);
      counting.all_reduce(x, ReduceOp::kSum, *make_stream({}, "test"));
    });
    EXPECT_EQ(sends, messages) << ranks << " ranks";
  }
}

// Eight lanes on 1, 2, 4, 8 ranks: the same bits.
TEST(OrderedReduce, DoesNotDependOnTheNumberOfRanks) {
  constexpr std::int64_t kLanes = 8, kColumns = 1000;
  const Owned lanes = random_tensor({kLanes, kColumns}, DType::kF32, 1);
  std::vector<std::byte> expected;
  for (const int ranks : {1, 2, 4, 8}) {
    std::vector<std::byte> result;
    run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
      const auto stream = make_stream({}, "test");
      const std::int64_t own = kLanes / ranks;
      const Owned sum({kColumns}, DType::kF32);
      ops::tree_sum(*stream, sum,
                    lanes.get().slice(world->rank() * own, (world->rank() + 1) * own));
      const RowRange rows = rows_of_rank(10, world->rank(), ranks);
      const Owned scratch({ranks * rows.rows(), 100}, DType::kF32);
      const Tensor full = sum.get().reshape({10, 100});
      ordered_reduce_scatter(*world, full.slice(rows.begin, rows.end), full, scratch, *stream);
      gather_rows(*world, full.slice(rows.begin, rows.end), full, *stream);
      if (world->rank() == 0) result = sum.bits();
    });
    if (expected.empty()) expected = result;
    EXPECT_EQ(result, expected) << ranks << " ranks";
  }
}

TEST(DeviceMesh, PlacesRanksAndSaysWhatItNeeds) {
  const MeshShape shape{.pipeline = 2, .data = 2, .tensor = 2};
  run_ranks_as_threads(8, [&](std::unique_ptr<ProcessGroup> world) {
    const int rank = world->rank();
    DeviceMesh mesh(std::move(world), shape);
    const DeviceMesh planned(shape, rank);
    for (const Axis axis : {Axis::kPipeline, Axis::kData, Axis::kContext, Axis::kTensor}) {
      if (mesh.group(axis).size() != mesh.size(axis) ||
          mesh.group(axis).rank() != mesh.coordinate(axis) ||
          planned.coordinate(axis) != mesh.coordinate(axis)) {
        throw std::runtime_error("wrong group");
      }
    }
    if (mesh.coordinate(Axis::kTensor) != rank % 2 ||
        mesh.coordinate(Axis::kPipeline) != rank / 4 ||
        mesh.world_rank(Axis::kPipeline, 1) != 4 + rank % 4) {
      throw std::runtime_error("wrong place");
    }
  });
  try {
    run_ranks_as_threads(
        4, [&](std::unique_ptr<ProcessGroup> world) { DeviceMesh(std::move(world), shape); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kPreflight);
    EXPECT_NE(std::string(error.what())
                  .find("pipeline 2 x data 2 x context 1 x tensor 2), the job has 4"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace frugal::test
